CREATE TABLE audit_logs (
    id text NOT NULL PRIMARY KEY,
    -- When the row was changed, or the event happened, by the clock of the application.
    occurred_at text NOT NULL,
    -- When the record arrived here.
    stored_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')),
    action text NOT NULL,
    resource_type text,
    resource_id text,
    outcome text NOT NULL,
    actor_type text,
    actor_id text,
    organization text,
    project text,
    request_id text,
    ip text,
    source text,
    api_key_id text,
    oauth_client_id text,
    transaction_id text,
    transaction_seq integer,
    changes text,
    extra text,
    -- SHA-256 of the record as it came, by which a redelivery is told from a forgery.
    digest blob
);

-- The history of one row.
CREATE INDEX audit_logs_resource ON audit_logs (resource_type, resource_id, occurred_at);
-- What one actor did.
CREATE INDEX audit_logs_actor ON audit_logs (actor_type, actor_id, occurred_at);
-- What happened in one organization since.
CREATE INDEX audit_logs_organization ON audit_logs (organization, occurred_at);

-- Records that could not be stored, as they came, with the reason.
CREATE TABLE audit_quarantine (
    -- Computed from the payload, so that a redelivery is the same row.
    id text NOT NULL PRIMARY KEY,
    quarantined_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')),
    reason text NOT NULL,
    payload blob NOT NULL
);

-- Which database this is: a queue that several applications could share belongs to one of them.
CREATE TABLE audit_identity (
    id text NOT NULL PRIMARY KEY
);
INSERT INTO audit_identity VALUES (lower(hex(randomblob(16))));
