DROP TABLE audit_quarantine;
DROP TABLE audit_logs;
DROP TABLE audit_identity;
