-- The same table on SQLite.
CREATE TABLE accounts (
    id integer NOT NULL PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    plan text NOT NULL,
    balance bigint NOT NULL,
    note text,
    api_token text NOT NULL,
    login_count integer NOT NULL,
    updated_at timestamp NOT NULL
);
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
INSERT INTO accounts
SELECT n, 'user' || n || '@example.com', 'User Number ' || n, 'member', 'free', n * 100,
       CASE WHEN n % 3 = 0 THEN 'a remark of moderate length about this account' END,
       hex(randomblob(16)), n % 50, '2026-01-01 00:00:00'
FROM numbers;
