-- A trail is not thrown away by a revert too many.
DO $$
BEGIN
    LOCK TABLE audit_logs, audit_quarantine IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM audit_logs) OR EXISTS (SELECT FROM audit_quarantine) THEN
        RAISE EXCEPTION 'the audit trail has rows, and reverting this migration would delete them: '
            'keep a copy of audit_logs and audit_quarantine, delete the rows, and revert again';
    END IF;
END $$;
DROP TABLE audit_quarantine;
DROP TABLE audit_logs;
