-- A trail is not thrown away by a revert too many. SQLite raises errors in triggers only: these
-- deletes delete nothing, or fail.
CREATE TRIGGER audit_logs_has_rows BEFORE DELETE ON audit_logs BEGIN
    SELECT RAISE(ABORT, 'the audit trail has rows, and reverting this migration would delete them: keep a copy of audit_logs and audit_quarantine, delete the rows, and revert again');
END;
CREATE TRIGGER audit_quarantine_has_rows BEFORE DELETE ON audit_quarantine BEGIN
    SELECT RAISE(ABORT, 'the audit trail has rows, and reverting this migration would delete them: keep a copy of audit_logs and audit_quarantine, delete the rows, and revert again');
END;
DELETE FROM audit_logs;
DELETE FROM audit_quarantine;
DROP TABLE audit_quarantine;
DROP TABLE audit_logs;
DROP TABLE audit_identity;
