-- The usual trigger for an audit log: one a statement, with transition tables.
-- It computes a diff in jsonb, leaves out changes of `updated_at` alone, redacts the token, and
-- reads the context from a session variable that the application sets before each statement:
-- organization#user#project#ip#source#api_key_id#oauth_client_id
--
-- Written set-based, with each row turned into jsonb once; a loop over the rows is slower.
CREATE FUNCTION audit_by_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    context text[] := string_to_array(current_setting('audit.context', true), '#');
BEGIN
    INSERT INTO statement_logs (
        occurred_at, action, resource_type, resource_id, outcome, organization, actor_type,
        actor_id, project, ip, source, api_key_id, oauth_client_id, changes
    )
    SELECT clock_timestamp(), 'update', TG_TABLE_NAME, changed.id::text, 'success', context[1],
           'user', context[2], context[3], context[4], context[5], context[6], context[7],
           diff.changes
    FROM (
        SELECT new_rows.id, to_jsonb(old_rows) AS old, to_jsonb(new_rows) AS new
        FROM old_rows JOIN new_rows USING (id)
    ) AS changed
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(
                   field.key,
                   CASE WHEN field.key = 'api_token' THEN '{"redacted":true}'::jsonb
                        ELSE jsonb_build_object('old', changed.old -> field.key, 'new', field.value)
                   END
               ) AS changes
        FROM jsonb_each(changed.new) AS field
        WHERE field.value IS DISTINCT FROM changed.old -> field.key
          AND field.key <> 'updated_at'
    ) AS diff
    WHERE diff.changes IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER audit AFTER UPDATE ON statement_accounts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_by_statement();
