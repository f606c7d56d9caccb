//! Real SQL, and what the guard has to say of it, where `public.users` and `auth.keys` are audited: a
//! verb and a table, or nothing.

/// A statement, and the verdict.
pub type Case = (&'static str, &'static str);

/// PostgreSQL, with the version that came to know it.
pub const POSTGRES: &[(u32, &[Case])] = &[
    (
        13,
        &[
            // What writes.
            ("INSERT INTO users VALUES (1)", "INSERT users"),
            (
                "INSERT INTO users AS u (id) VALUES (1) ON CONFLICT DO NOTHING",
                "INSERT users",
            ),
            (
                "INSERT INTO users OVERRIDING SYSTEM VALUE SELECT * FROM other",
                "INSERT users",
            ),
            (
                "INSERT INTO users (id) OVERRIDING USER VALUE VALUES (1)",
                "INSERT users",
            ),
            (
                "INSERT INTO users DEFAULT VALUES RETURNING *",
                "INSERT users",
            ),
            ("INSERT INTO users TABLE other", "INSERT users"),
            (
                "INSERT INTO \"public\" . \"users\" (SELECT * FROM other)",
                "INSERT users",
            ),
            ("INSERT INTO users (data[1]) VALUES (1)", "INSERT users"),
            (
                "INSERT INTO users WITH x AS (SELECT 1) SELECT * FROM x",
                "INSERT users",
            ),
            ("UPDATE users SET data[1] = (SELECT 1)", "UPDATE users"),
            (
                "UPDATE users SET data[1:2] = '{1,2}', a.b = 1",
                "UPDATE users",
            ),
            ("UPDATE users * SET a = 1", "UPDATE users"),
            ("UPDATE ONLY (users) SET a = 1", "UPDATE users"),
            ("UPDATE ONLY (public.users) AS u SET a = 1", "UPDATE users"),
            ("UPDATE users SET (a, b) = ROW (1, 2)", "UPDATE users"),
            (
                "UPDATE users u SET a = DEFAULT FROM other WHERE u.id = other.id",
                "UPDATE users",
            ),
            (
                "UPDATE users SET a = 1 WHERE id = (SELECT id FROM other FETCH FIRST 3 ROWS WITH TIES)",
                "UPDATE users",
            ),
            (r#"UPDATE U&"\0075sers" SET a = 1"#, "UPDATE users"),
            (r#"DELETE FROM u&"us\+000065rs""#, "DELETE users"),
            ("DELETE FROM ONLY users * USING other", "DELETE users"),
            (
                "DELETE FROM users WHERE data @> '{1}' OR data ?| array['a']",
                "DELETE users",
            ),
            ("TRUNCATE TABLE ONLY (users), other *", "TRUNCATE users"),
            (
                "TRUNCATE other, auth.keys RESTART IDENTITY",
                "TRUNCATE auth.keys",
            ),
            (
                "COPY users FROM STDIN WITH (FORMAT csv, FORCE_NULL (a))",
                "COPY users",
            ),
            (
                "COPY users (id) FROM PROGRAM 'cat' WHERE id > 1",
                "COPY users",
            ),
            ("COPY BINARY users FROM STDIN", "COPY users"),
            (
                "COPY (UPDATE users SET a = 1 RETURNING *) TO STDOUT",
                "UPDATE users",
            ),
            (
                "COPY (WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x) TO STDOUT",
                "DELETE users",
            ),
            (
                "WITH RECURSIVE x (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM x WHERE id < 3) \
                 UPDATE users SET a = 1 FROM x",
                "UPDATE users",
            ),
            (
                "WITH a AS (SELECT 1), b (c) AS NOT MATERIALIZED (SELECT 2) DELETE FROM users",
                "DELETE users",
            ),
            (
                "WITH a AS (INSERT INTO users VALUES (1) RETURNING id) UPDATE other SET a = 1 FROM a",
                "INSERT users",
            ),
            (
                "WITH a AS (WITH b AS (SELECT 1) UPDATE users SET a = 1 RETURNING 1) SELECT 1",
                "UPDATE users",
            ),
            (
                "WITH update AS (SELECT 1), delete AS (SELECT 2) INSERT INTO users SELECT * FROM update",
                "INSERT users",
            ),
            ("EXPLAIN ANALYSE UPDATE users SET a = 1", "UPDATE users"),
            (
                "EXPLAIN (FORMAT json, ANALYZE true) DELETE FROM users",
                "DELETE users",
            ),
            (
                "EXPLAIN (ANALYZE off, ANALYZE) INSERT INTO users VALUES (1)",
                "INSERT users",
            ),
            (
                "EXPLAIN (ANALYZE) CREATE TABLE t AS WITH x AS (DELETE FROM users RETURNING 1) SELECT 1",
                "DELETE users",
            ),
            (
                "PREPARE p (integer, text) AS INSERT INTO users VALUES ($1)",
                "INSERT users",
            ),
            (
                "PREPARE p AS WITH x AS (SELECT 1) DELETE FROM users",
                "DELETE users",
            ),
            (
                "CREATE TEMP TABLE t (a) ON COMMIT DROP AS WITH x AS (DELETE FROM users RETURNING 1) SELECT 1",
                "DELETE users",
            ),
            (
                "CREATE UNLOGGED TABLE IF NOT EXISTS t AS (WITH x AS (UPDATE users SET a = 1 RETURNING 1) SELECT 1)",
                "UPDATE users",
            ),
            (
                "DO $$ BEGIN IF true THEN UPDATE users SET a = 1; ELSE DELETE FROM other; END IF; END $$",
                "UPDATE users",
            ),
            (
                "DO $$ DECLARE r record; BEGIN FOR r IN DELETE FROM users RETURNING * LOOP END LOOP; END $$",
                "DELETE users",
            ),
            (
                "DO $$ BEGIN EXECUTE format('TRUNCATE %I', 'users'); END $$",
                "TRUNCATE users",
            ),
            (
                "DO $$ BEGIN EXECUTE 'UPDATE ' || quote_ident('users') || ' SET a = 1'; END $$",
                "UPDATE users",
            ),
            ("-- a comment\rDELETE FROM users", "DELETE users"),
            (
                "DELETE FROM users WHERE a = E'\\'' AND b = 'DELETE FROM other'",
                "DELETE users",
            ),
            (
                "DELETE FROM users WHERE a = $tag$ it's $$ here $tag$",
                "DELETE users",
            ),
            (
                "UPDATE users SET a = B'101', b = X'1F', c = N'n', d = U&'\\0041'",
                "UPDATE users",
            ),
            (
                "UPDATE users SET a = DATE '2026-01-01', b = interval '1' day",
                "UPDATE users",
            ),
            // What reads, or writes something else.
            (
                "INSERT INTO log OVERRIDING SYSTEM VALUE SELECT * FROM users",
                "",
            ),
            (
                "INSERT INTO log SELECT a AS insert, b AS delete FROM users",
                "",
            ),
            (
                "INSERT INTO log (update, delete, insert) SELECT 1, 2, 3 FROM users",
                "",
            ),
            (
                "INSERT INTO log SELECT * FROM users ON CONFLICT (id) DO UPDATE SET a = excluded.a",
                "",
            ),
            ("INSERT INTO log (data[1]) SELECT 1 FROM users", ""),
            ("UPDATE other SET data[1] = (SELECT 1 FROM users)", ""),
            (
                "UPDATE other SET data[1:2] = (SELECT array[1, 2] FROM users) WHERE true",
                "",
            ),
            (
                "UPDATE other SET (a, b) = (SELECT 1, 2 FROM users LIMIT 1)",
                "",
            ),
            ("UPDATE ONLY other * SET a = 1 FROM ONLY users", ""),
            ("UPDATE other AS users SET a = 1", ""),
            ("DELETE FROM other AS users USING auth.keys", ""),
            (
                "DELETE FROM other WHERE EXISTS (SELECT FROM users FOR UPDATE OF users)",
                "",
            ),
            (
                "WITH x AS (UPDATE other SET data[1] = 1 RETURNING *) SELECT * FROM x, users",
                "",
            ),
            (
                "WITH users AS (SELECT 1) UPDATE other SET a = 1 FROM users",
                "",
            ),
            (
                "WITH x AS (DELETE FROM other RETURNING *) \
                 SELECT * FROM users FETCH FIRST 3 ROWS WITH TIES",
                "",
            ),
            (
                "SELECT id FROM users ORDER BY id FETCH FIRST 3 ROWS WITH TIES FOR UPDATE",
                "",
            ),
            (
                "SELECT sum(a) OVER (ORDER BY id ROWS 2 PRECEDING EXCLUDE TIES) AS update FROM users",
                "",
            ),
            (
                "SELECT first_value(a) OVER w AS delete FROM users \
                 WINDOW w AS (ORDER BY id GROUPS CURRENT ROW EXCLUDE CURRENT ROW)",
                "",
            ),
            ("SELECT delete FROM users", ""),
            ("SELECT id, delete FROM users", ""),
            ("SELECT a AS delete FROM users", ""),
            (
                "SELECT (SELECT insert FROM users), truncate, copy FROM other",
                "",
            ),
            ("SELECT update.a FROM users AS update", ""),
            (
                "SELECT trim(update FROM a) FROM users AS update (update)",
                "",
            ),
            (
                "SELECT 1 FROM users WHERE replace(a, 'DELETE FROM users', '') = ''",
                "",
            ),
            (
                "SELECT * FROM users TABLESAMPLE SYSTEM (10) REPEATABLE (1) FOR UPDATE SKIP LOCKED",
                "",
            ),
            (
                "SELECT * FROM ROWS FROM (f(1), g(2)) WITH ORDINALITY AS t (update, delete), users",
                "",
            ),
            ("SELECT * INTO TEMP users_copy FROM users FOR UPDATE", ""),
            ("TABLE users", ""),
            ("VALUES ('DELETE FROM users')", ""),
            ("EXPLAIN (VERBOSE) INSERT INTO users VALUES (1)", ""),
            ("EXPLAIN VERBOSE UPDATE users SET a = 1", ""),
            (
                "EXPLAIN (ANALYZE 0) WITH x AS (DELETE FROM users RETURNING 1) SELECT 1",
                "",
            ),
            ("EXPLAIN (ANALYZE, ANALYZE 'off') DELETE FROM users", ""),
            (
                "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM users FOR UPDATE",
                "",
            ),
            (
                "COPY users (id) TO PROGRAM 'cat' WITH (FORMAT csv, FORCE_QUOTE *)",
                "",
            ),
            ("COPY other FROM STDIN WHERE a = 'users'", ""),
            (
                "COPY (SELECT delete FROM users) TO STDOUT (DELIMITER '|')",
                "",
            ),
            (
                "CREATE TABLE t AS WITH x AS (DELETE FROM other RETURNING 1) SELECT * FROM users",
                "",
            ),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT * FROM users WITH NO DATA",
                "",
            ),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY users", ""),
            (
                "CREATE RULE r AS ON UPDATE TO other DO ALSO UPDATE users SET a = 1",
                "",
            ),
            (
                "CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OF a OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION f()",
                "",
            ),
            (
                "CREATE POLICY p ON users AS RESTRICTIVE FOR UPDATE TO app USING (true)",
                "",
            ),
            (
                "CREATE PUBLICATION p FOR TABLE users WITH (publish = 'insert, update')",
                "",
            ),
            (
                "ALTER TABLE users ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES other ON DELETE SET NULL ON UPDATE CASCADE",
                "",
            ),
            (
                "ALTER DEFAULT PRIVILEGES GRANT INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO users",
                "",
            ),
            ("GRANT SELECT, INSERT (id), UPDATE (a) ON users TO app", ""),
            ("REVOKE TRUNCATE, DELETE ON users FROM app CASCADE", ""),
            (
                "LOCK TABLE ONLY users IN SHARE UPDATE EXCLUSIVE MODE NOWAIT",
                "",
            ),
            ("COMMENT ON TABLE users IS 'UPDATE users'", ""),
            ("SECURITY LABEL ON TABLE users IS 'DELETE FROM users'", ""),
            (
                "DO $$ BEGIN DELETE FROM other WHERE id IN (SELECT id FROM users FOR UPDATE); END $$",
                "",
            ),
            // What a block puts together.
            (
                r"DO E'BEGIN \x55PDATE users SET a = E\'x\'; END'",
                "UPDATE users",
            ),
            (r"DO E'BEGIN\nDELETE FROM \165sers;\nEND'", "DELETE users"),
            (r"DO U&'BEGIN DELETE FROM \0075sers; END'", "DELETE users"),
            (
                r"DO $$ BEGIN EXECUTE E'UPDATE\tusers SET a = 1'; END $$",
                "UPDATE users",
            ),
            (
                "DO $$ BEGIN INSERT INTO log VALUES (1); EXECUTE 'UPDATE ' || 'users SET a = 1'; END $$",
                "UPDATE users",
            ),
            (
                "DO $$ BEGIN INSERT INTO log VALUES (1); EXECUTE format('DELETE FROM %I', 'users'); END $$",
                "DELETE users",
            ),
            (
                "DO $$ BEGIN INSERT INTO audit_logs SELECT * FROM old; EXECUTE format('DELETE FROM %I', 'audit_logs'); END $$",
                "DELETE audit_logs",
            ),
            (
                "DO $$ BEGIN INSERT INTO audit_logs SELECT * FROM old; EXECUTE 'DELETE FROM other'; END $$",
                "",
            ),
            (
                "DO $$ BEGIN PERFORM 1 FROM users; RAISE NOTICE 'DELETE FROM users'; END $$",
                "",
            ),
            (
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE users SET a = 1; RETURN NULL; END $$",
                "",
            ),
            ("LISTEN users", ""),
            ("NOTIFY users, 'DELETE FROM users'", ""),
            ("SET search_path = users, \"DELETE FROM users\"", ""),
            ("UPDATE pg_temp.users SET a = 1", ""),
            (
                "DELETE FROM keys WHERE id IN (SELECT id FROM auth.keys)",
                "",
            ),
            (
                "UPDATE other SET a = $1 /* users */ WHERE b = $2 -- UPDATE users",
                "",
            ),
            // The trail itself.
            (
                "UPDATE audit_logs SET actor_id = 'somebody else'",
                "UPDATE audit_logs",
            ),
            (
                "DELETE FROM audit.audit_logs WHERE occurred_at < now()",
                "DELETE audit_logs",
            ),
            (
                "TRUNCATE other, \"audit_quarantine\"",
                "TRUNCATE audit_quarantine",
            ),
            (
                "WITH x AS (DELETE FROM audit_logs RETURNING *) INSERT INTO old SELECT * FROM x",
                "DELETE audit_logs",
            ),
            (
                "INSERT INTO audit_logs SELECT * FROM old ON CONFLICT (id) DO UPDATE SET actor_id = excluded.actor_id",
                "INSERT audit_logs",
            ),
            (
                "INSERT INTO audit_logs SELECT * FROM old ON CONFLICT (id) DO NOTHING",
                "",
            ),
            ("COPY audit_logs (no_such_column) FROM STDIN", ""),
            ("SELECT * FROM audit_logs FOR UPDATE", ""),
            (
                "DELETE FROM other WHERE id IN (SELECT id FROM audit_logs)",
                "",
            ),
        ],
    ),
    (
        14,
        &[
            (
                "WITH RECURSIVE x AS (SELECT 1 AS id UNION SELECT id FROM x) SEARCH DEPTH FIRST BY id SET ord \
                 DELETE FROM users",
                "DELETE users",
            ),
            (
                "WITH RECURSIVE x AS (SELECT 1 AS id UNION SELECT id FROM x) CYCLE id SET is_cycle USING path, \
                 y AS (UPDATE users SET a = 1 RETURNING 1) SELECT 1",
                "UPDATE users",
            ),
            (
                "WITH RECURSIVE x AS (SELECT 1 AS id UNION SELECT id FROM x) \
                 CYCLE id SET is_cycle TO 'y' DEFAULT 'n' USING path \
                 UPDATE other SET a = 1 FROM x, users",
                "",
            ),
            (
                "WITH RECURSIVE x AS (SELECT id FROM users UNION SELECT id FROM x) \
                 SEARCH BREADTH FIRST BY id SET update CYCLE id SET delete USING insert \
                 INSERT INTO log SELECT id FROM x",
                "",
            ),
            ("SELECT count(*) delete FROM users", ""),
            (
                "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM users; END",
                "",
            ),
        ],
    ),
    (
        15,
        &[
            (
                "MERGE INTO ONLY users AS u USING other o ON u.id = o.id \
                 WHEN MATCHED AND o.a THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
                "MERGE users",
            ),
            (
                "MERGE INTO other o USING users u ON u.id = o.id WHEN MATCHED THEN UPDATE SET a = 1 \
                 WHEN NOT MATCHED THEN INSERT (id) VALUES (u.id)",
                "",
            ),
            (
                "WITH x AS (SELECT 1) MERGE INTO other USING users ON true WHEN MATCHED THEN DO NOTHING",
                "",
            ),
            ("COPY users FROM STDIN WITH (HEADER match)", "COPY users"),
        ],
    ),
    (
        16,
        &[
            (
                "DELETE FROM users WHERE a IS JSON OBJECT WITH UNIQUE KEYS",
                "DELETE users",
            ),
            (
                "UPDATE\u{b}users SET a = 0x1F, b = 1_000, c = 0b11",
                "UPDATE users",
            ),
            ("SELECT * FROM (SELECT delete FROM users) WHERE true", ""),
        ],
    ),
    (
        17,
        &[
            (
                "WITH x AS (MERGE INTO users USING other ON true WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING merge_action()) SELECT 1",
                "MERGE users",
            ),
            (
                "SELECT * FROM JSON_TABLE ('[]', '$[*]' COLUMNS (delete text PATH '$.a')) AS t, users FOR UPDATE",
                "",
            ),
            ("COPY users FROM STDIN WITH (ON_ERROR ignore)", "COPY users"),
            (
                "EXPLAIN (ANALYZE, SERIALIZE text, MEMORY) DELETE FROM users",
                "DELETE users",
            ),
        ],
    ),
    (
        18,
        &[
            (
                "UPDATE users SET a = 1 RETURNING WITH (OLD AS o, NEW AS n) o.a, n.a",
                "UPDATE users",
            ),
            (
                "WITH x AS (UPDATE other SET a = 1 RETURNING old.*, new.*) SELECT * FROM x, users",
                "",
            ),
            (
                "ALTER TABLE users ADD CONSTRAINT c CHECK (a <> 'DELETE FROM users') NOT ENFORCED",
                "",
            ),
        ],
    ),
];

/// SQLite.
pub const SQLITE: &[Case] = &[
    (
        "INSERT INTO users VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE true",
        "INSERT users",
    ),
    (
        "INSERT OR ROLLBACK INTO main.users DEFAULT VALUES",
        "INSERT users",
    ),
    (
        "INSERT OR REPLACE INTO \"users\" SELECT * FROM other",
        "REPLACE users",
    ),
    ("REPLACE INTO [users] (id) VALUES (1)", "REPLACE users"),
    (
        "WITH x AS (SELECT 1) INSERT OR IGNORE INTO users SELECT 1, 2 FROM x",
        "INSERT users",
    ),
    (
        "UPDATE OR FAIL `main`.`users` AS u SET a = 1 FROM other WHERE other.id = u.id",
        "UPDATE users",
    ),
    ("UPDATE users INDEXED BY i SET a = 1", "UPDATE users"),
    (
        "UPDATE users NOT INDEXED SET (a, id) = (SELECT 1, 2) RETURNING *",
        "UPDATE users",
    ),
    ("UPDATE 'users' SET 'a' = \"b\"", "UPDATE users"),
    (
        "DELETE FROM main.'users' WHERE a MATCH 'x' RETURNING id",
        "DELETE users",
    ),
    (
        "WITH RECURSIVE x (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM x LIMIT 3) DELETE FROM users WHERE id IN x",
        "DELETE users",
    ),
    (
        "WITH x AS NOT MATERIALIZED (SELECT 1) UPDATE users SET a = 1",
        "UPDATE users",
    ),
    ("/* a /* b */ DELETE FROM users", "DELETE users"),
    (
        "DELETE FROM users WHERE a = x'00' AND b IS ?1 AND b <> :name AND b <> @name AND b <> $name",
        "DELETE users",
    ),
    ("DELETE FROM users WHERE a ->> '$.b' = 1", "DELETE users"),
    ("UPDATE audit_logs SET actor_id = 1", "UPDATE audit_logs"),
    (
        "REPLACE INTO audit_logs SELECT * FROM old",
        "REPLACE audit_logs",
    ),
    ("DELETE FROM [audit_quarantine]", "DELETE audit_quarantine"),
    ("INSERT OR IGNORE INTO audit_logs SELECT * FROM old", ""),
    ("UPDATE temp.users SET a = 1", ""),
    ("UPDATE other AS users SET a = 1", ""),
    (
        "UPDATE other SET a = (SELECT a FROM users) WHERE b IN (SELECT a FROM [users])",
        "",
    ),
    ("UPDATE other SET a = \"DELETE FROM users\"", ""),
    (
        "INSERT INTO other SELECT id, a FROM users WHERE true ON CONFLICT DO UPDATE SET a = 1",
        "",
    ),
    ("INSERT OR REPLACE INTO other SELECT * FROM users", ""),
    ("DELETE FROM other WHERE a IN users", ""),
    (
        "WITH users AS (SELECT 1) DELETE FROM other WHERE a IN users",
        "",
    ),
    ("SELECT replace(a, 'b', 'c') FROM users", ""),
    ("SELECT a AS 'delete', b AS \"update\" FROM users", ""),
    ("SELECT iif(a, 'INSERT INTO users', '') FROM users AS t", ""),
    (
        "SELECT a, sum(b) OVER (ORDER BY a GROUPS 1 PRECEDING EXCLUDE TIES) FROM users",
        "",
    ),
    ("EXPLAIN UPDATE users SET a = 1", ""),
    ("EXPLAIN QUERY PLAN DELETE FROM users", ""),
    (
        "CREATE TRIGGER t INSTEAD OF UPDATE OF a ON v BEGIN DELETE FROM users; UPDATE users SET a = 1; END",
        "",
    ),
    (
        "CREATE TABLE t (a REFERENCES users ON DELETE CASCADE ON UPDATE SET NULL, b UNIQUE ON CONFLICT REPLACE)",
        "",
    ),
    ("CREATE TABLE t AS SELECT * FROM users", ""),
    ("CREATE VIEW w AS SELECT 'DELETE FROM users' FROM users", ""),
    ("ALTER TABLE other RENAME COLUMN a TO 'users'", ""),
    ("PRAGMA table_info(users)", ""),
    ("REINDEX users", ""),
];
