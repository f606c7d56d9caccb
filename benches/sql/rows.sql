-- The same rows for everybody.
INSERT INTO accounts (email, name, role, plan, balance, note, api_token, login_count, updated_at)
SELECT 'user' || n || '@example.com', 'User Number ' || n, 'member', 'free', n * 100,
       CASE WHEN n % 3 = 0 THEN 'a remark of moderate length about this account' END,
       md5(n::text), n % 50, '2026-01-01'
FROM generate_series(1, 100000) n;

INSERT INTO statement_accounts SELECT * FROM accounts WHERE id <= 10000;
INSERT INTO row_accounts SELECT * FROM accounts WHERE id <= 10000;
INSERT INTO context_accounts SELECT * FROM accounts WHERE id <= 10000;
