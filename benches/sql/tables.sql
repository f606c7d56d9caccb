-- The table that all measurements write: ten columns, as a table of users or accounts has them.
-- `plain` and audited statements share it; each trigger has a table of its own with the same rows,
-- because a trigger would slow the others down.
CREATE TABLE accounts (
    id bigserial PRIMARY KEY,
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

CREATE TABLE statement_accounts (LIKE accounts INCLUDING ALL);
CREATE TABLE row_accounts (LIKE accounts INCLUDING ALL);
CREATE TABLE context_accounts (LIKE accounts INCLUDING ALL);

-- Where the triggers write: the columns and indexes of `audit_logs`, so that each baseline fills
-- as much as ours does.
CREATE TABLE statement_logs (LIKE audit_logs INCLUDING ALL);
CREATE TABLE row_logs (LIKE audit_logs INCLUDING ALL);
ALTER TABLE statement_logs ALTER id SET DEFAULT gen_random_uuid();
ALTER TABLE row_logs ALTER id SET DEFAULT gen_random_uuid();
