-- A trail is not thrown away by a revert too many. SQLite raises errors of one's own in triggers only.
CREATE TEMP TABLE audit_trail_is_kept (has_rows integer NOT NULL);
CREATE TEMP TRIGGER audit_trail_is_kept_if_it_has_rows BEFORE INSERT ON audit_trail_is_kept
WHEN NEW.has_rows BEGIN
    SELECT RAISE(ABORT, 'the audit trail has rows, and reverting this migration would delete them: keep a copy of audit_logs and audit_quarantine, delete the rows, and revert again');
END;
INSERT INTO audit_trail_is_kept
SELECT EXISTS (SELECT 1 FROM audit_logs) OR EXISTS (SELECT 1 FROM audit_quarantine);
DROP TABLE audit_trail_is_kept;
DROP TABLE audit_quarantine;
DROP TABLE audit_logs;
DROP TABLE audit_identity;
