//! A row of the audit table, as those insert it who have no consumer.

use std::io::Write;

use audit_diesel::Record;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Jsonb;
use uuid::Uuid;

diesel::table! {
    copied_logs (id) {
        id -> Uuid,
        occurred_at -> Timestamptz,
        action -> Text,
        resource_type -> Nullable<Text>,
        resource_id -> Nullable<Text>,
        outcome -> Text,
        actor_type -> Nullable<Text>,
        actor_id -> Nullable<Text>,
        organization -> Nullable<Text>,
        project -> Nullable<Text>,
        request_id -> Nullable<Text>,
        ip -> Nullable<Text>,
        source -> Nullable<Text>,
        api_key_id -> Nullable<Text>,
        oauth_client_id -> Nullable<Text>,
        transaction_id -> Nullable<Uuid>,
        transaction_seq -> Nullable<Integer>,
        changes -> Nullable<Jsonb>,
    }
}

/// JSON that is text already: COPY has nothing left to do but to send it.
#[derive(Debug, diesel::expression::AsExpression)]
#[diesel(sql_type = Jsonb)]
pub(crate) struct Json(String);

impl ToSql<Jsonb, Pg> for Json {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        out.write_all(&[1])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

#[derive(Debug, Insertable)]
#[diesel(table_name = copied_logs, treat_none_as_default_value = false)]
pub(crate) struct LogRow {
    id: Uuid,
    occurred_at: DateTime<Utc>,
    action: String,
    resource_type: Option<String>,
    resource_id: Option<String>,
    outcome: String,
    actor_type: Option<String>,
    actor_id: Option<String>,
    organization: Option<String>,
    project: Option<String>,
    request_id: Option<String>,
    ip: Option<String>,
    source: Option<String>,
    api_key_id: Option<String>,
    oauth_client_id: Option<String>,
    transaction_id: Option<Uuid>,
    transaction_seq: Option<i32>,
    changes: Option<Json>,
}

impl LogRow {
    pub(crate) fn new(record: &Record) -> Self {
        let context = &record.context;
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            id: record.id,
            occurred_at: DateTime::from_timestamp_micros(record.occurred_at).unwrap_or_default(),
            action: record.action.clone(),
            resource_type: record.resource_type.clone(),
            resource_id: record.resource_id.clone(),
            outcome: record.outcome.as_str().to_owned(),
            actor_type: context.actor_ref().map(|actor| actor.kind().to_owned()),
            actor_id: context.actor_ref().map(|actor| actor.id().to_owned()),
            organization: text(context.organization_ref()),
            project: text(context.project_ref()),
            request_id: text(context.request_id_ref()),
            ip: context.ip_ref().map(|ip| ip.to_string()),
            source: context
                .source_ref()
                .map(|source| source.as_str().to_owned()),
            api_key_id: text(context.api_key_id_ref()),
            oauth_client_id: text(context.oauth_client_id_ref()),
            transaction_id: record.transaction.map(|transaction| transaction.id),
            transaction_seq: record.transaction.map(|transaction| transaction.seq as i32),
            changes: record
                .changes
                .as_ref()
                .map(|changes| Json(changes.as_json().to_owned())),
        }
    }

    pub(crate) fn copy(conn: &mut PgConnection, rows: &[Self]) -> QueryResult<()> {
        diesel::copy_from(copied_logs::table)
            .from_insertable(rows)
            .execute(conn)?;
        Ok(())
    }

    pub(crate) fn values(conn: &mut PgConnection, rows: &[Self]) -> QueryResult<()> {
        let insert = diesel::insert_into(copied_logs::table).values(rows);
        insert.execute(conn)?;
        Ok(())
    }

    pub(crate) fn one_by_one(conn: &mut PgConnection, rows: &[Self]) -> QueryResult<()> {
        for row in rows {
            let insert = diesel::insert_into(copied_logs::table).values(row);
            insert.execute(conn)?;
        }
        Ok(())
    }
}
