//! The tables, declared once for both backends: they differ in three column types.

/// Declares `audit_logs`, `audit_quarantine` and what goes with them for a backend.
macro_rules! audit_tables {
    (
        backend: $backend:ty,
        connection: $connection:ty,
        uuid: $uuid:ident as $uuid_value:ty, $uuid_name:literal,
        timestamp: $timestamp:ident,
        json: $json:ident, $json_name:literal,
        migrations: $migrations:literal $(,)?
    ) => {
        use diesel::dsl::SqlTypeOf;
        use diesel::prelude::*;

        use super::log::{AuditLog, QuarantinedRecord};

        diesel::table! {
            /// The trail: one row a record.
            audit_logs (id) {
                /// The record's id, a UUIDv7.
                id -> $uuid,
                /// When the row was changed: by the clock of PostgreSQL, or of the application on SQLite.
                occurred_at -> $timestamp,
                /// When the record arrived, by the clock of the database.
                stored_at -> $timestamp,
                /// `insert`, `update`, `delete`, or an event's own name.
                action -> Text,
                /// What kind of thing it is about, such as `users`.
                resource_type -> Nullable<Text>,
                /// Which one: the row's primary key as text.
                resource_id -> Nullable<Text>,
                /// `success`, `failure` or `denied`.
                outcome -> Text,
                /// The actor's kind, such as `user`.
                actor_type -> Nullable<Text>,
                /// The actor's id within the kind.
                actor_id -> Nullable<Text>,
                /// The organization that the change belongs to.
                organization -> Nullable<Text>,
                /// The project within the organization.
                project -> Nullable<Text>,
                /// The request's id.
                request_id -> Nullable<Text>,
                /// Where the request came from.
                ip -> Nullable<Text>,
                /// Which part of the system the change came through.
                source -> Nullable<Text>,
                /// The API key that the request was made with.
                api_key_id -> Nullable<Text>,
                /// The OAuth client that the request came through.
                oauth_client_id -> Nullable<Text>,
                /// The same for all records of a transaction.
                transaction_id -> Nullable<$uuid>,
                /// The record's place in its transaction.
                transaction_seq -> Nullable<Integer>,
                /// Field → `{"old":…,"new":…}`.
                changes -> Nullable<$json>,
                /// Whatever else the context or the event said.
                extra -> Nullable<$json>,
                /// SHA-256 of the record as it came; none in a row that came another way.
                digest -> Nullable<Binary>,
            }
        }

        diesel::table! {
            /// Records that could not be stored, with the reason.
            audit_quarantine (id) {
                /// Computed from the payload.
                id -> $uuid,
                /// When that was.
                quarantined_at -> $timestamp,
                /// Why.
                reason -> Text,
                /// The record as it came, or the beginning of an entry that is too long for one.
                payload -> Binary,
            }
        }

        /// The migrations that create the tables; run them with Diesel's `MigrationHarness`, beside
        /// the application's own.
        pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
            diesel_migrations::embed_migrations!($migrations);

        /// A row to be stored.
        #[derive(Debug, Insertable)]
        #[diesel(table_name = audit_logs, treat_none_as_default_value = false)]
        pub(crate) struct NewAuditLog<'a> {
            id: $uuid_value,
            occurred_at: chrono::DateTime<chrono::Utc>,
            action: &'a str,
            resource_type: Option<&'a str>,
            resource_id: Option<&'a str>,
            outcome: &'a str,
            actor_type: Option<&'a str>,
            actor_id: Option<&'a str>,
            organization: Option<&'a str>,
            project: Option<&'a str>,
            request_id: Option<&'a str>,
            ip: Option<String>,
            source: Option<&'a str>,
            api_key_id: Option<&'a str>,
            oauth_client_id: Option<&'a str>,
            transaction_id: Option<$uuid_value>,
            transaction_seq: Option<i32>,
            changes: Option<super::RawJson<'a>>,
            extra: Option<super::RawJson<'a>>,
            digest: &'a [u8],
        }

        impl<'a> NewAuditLog<'a> {
            pub(crate) fn new(entry: &'a super::EntryToStore) -> Self {
                let record = &entry.record;
                let context = &record.context;
                let actor = context.actor_ref();
                Self {
                    id: record.id.into(),
                    occurred_at: entry.occurred_at,
                    action: &record.action,
                    resource_type: record.resource_type.as_deref(),
                    resource_id: record.resource_id.as_deref(),
                    outcome: record.outcome.as_str(),
                    actor_type: actor.map(|actor| actor.kind()),
                    actor_id: actor.map(|actor| actor.id()),
                    organization: context.organization_ref(),
                    project: context.project_ref(),
                    request_id: context.request_id_ref(),
                    ip: context.ip_ref().map(|ip| ip.to_string()),
                    source: context.source_ref().map(|source| source.as_str()),
                    api_key_id: context.api_key_id_ref(),
                    oauth_client_id: context.oauth_client_id_ref(),
                    transaction_id: record.transaction.map(|transaction| transaction.id.into()),
                    transaction_seq: record
                        .transaction
                        .map(|transaction| i32::try_from(transaction.seq).unwrap_or(i32::MAX)),
                    changes: record.changes.as_ref().map(|c| super::RawJson(c.as_json())),
                    extra: entry.extra.as_deref().map(super::RawJson),
                    digest: &entry.digest,
                }
            }
        }

        /// Inserts what one of the latest rows says once more, as a row of the id, time and digest of
        /// this one, with `changes` where this one has them, and if possible `extra`.
        ///
        /// The casts make each value what a bound one is: a column of another type does not take it
        /// because it happens to hold such a value.
        pub(crate) fn insert_again(
            conn: &mut $connection,
            row: &super::EntryToStore,
        ) -> QueryResult<usize> {
            use diesel::sql_types;
            // Diesel numbers binds on PostgreSQL; SQLite takes these as they come.
            diesel::sql_query(concat!(
                "INSERT INTO audit_logs (id, occurred_at, digest, action, resource_type, \
                 resource_id, outcome, actor_type, actor_id, organization, project, request_id, \
                 ip, source, api_key_id, oauth_client_id, transaction_id, transaction_seq, \
                 changes, extra) \
                 SELECT $1, $2, $3, CAST(action AS text), CAST(resource_type AS text), \
                 CAST(resource_id AS text), CAST(outcome AS text), CAST(actor_type AS text), \
                 CAST(actor_id AS text), CAST(organization AS text), CAST(project AS text), \
                 CAST(request_id AS text), CAST(ip AS text), CAST(source AS text), \
                 CAST(api_key_id AS text), CAST(oauth_client_id AS text), CAST(transaction_id AS ",
                $uuid_name,
                "), CAST(transaction_seq AS integer), CAST(changes AS ",
                $json_name,
                "), CAST(extra AS ",
                $json_name,
                ") FROM (SELECT * FROM audit_logs ORDER BY id DESC LIMIT 100) AS latest \
                 WHERE (changes IS NULL) = $4 ORDER BY (extra IS NULL) = $5 DESC LIMIT 1",
            ))
            .bind::<sql_types::$uuid, $uuid_value>(row.record.id.into())
            .bind::<sql_types::$timestamp, _>(row.occurred_at)
            .bind::<sql_types::Binary, _>(&row.digest[..])
            .bind::<sql_types::Bool, _>(row.record.changes.is_none())
            .bind::<sql_types::Bool, _>(row.extra.is_none())
            .execute(conn)
        }

        /// A payload to be quarantined.
        #[derive(Debug, Insertable)]
        #[diesel(table_name = audit_quarantine)]
        pub(crate) struct NewQuarantined<'a> {
            id: $uuid_value,
            reason: &'a str,
            payload: &'a [u8],
        }

        impl<'a> NewQuarantined<'a> {
            pub(crate) fn new(refused: &'a super::Refused) -> Self {
                Self {
                    id: refused.id().into(),
                    reason: &refused.reason,
                    payload: refused.payload.as_bytes(),
                }
            }
        }

        impl Selectable<$backend> for AuditLog {
            type SelectExpression = <audit_logs::table as diesel::Table>::AllColumns;

            fn construct_selection() -> Self::SelectExpression {
                audit_logs::all_columns
            }
        }

        impl Selectable<$backend> for QuarantinedRecord {
            type SelectExpression = <audit_quarantine::table as diesel::Table>::AllColumns;

            fn construct_selection() -> Self::SelectExpression {
                audit_quarantine::all_columns
            }
        }

        /// A query for [`AuditLog`]s that more can be said about: `filter`, `order`, `limit`.
        pub type AuditLogQuery<'a> = audit_logs::BoxedQuery<
            'a,
            $backend,
            SqlTypeOf<diesel::dsl::AsSelect<AuditLog, $backend>>,
        >;

        fn all<'a>() -> AuditLogQuery<'a> {
            audit_logs::table.select(AuditLog::as_select()).into_boxed()
        }

        /// The history of one row, oldest first.
        pub fn history<'a>(
            resource_type: &'a str,
            resource_id: impl ToString,
        ) -> AuditLogQuery<'a> {
            all()
                .filter(audit_logs::resource_type.eq(audit_core::recorded_kind(resource_type)))
                .filter(
                    audit_logs::resource_id
                        .eq(audit_core::recorded_id(&resource_id.to_string()).into_owned()),
                )
                .order((audit_logs::occurred_at.asc(), audit_logs::id.asc()))
        }

        /// What one actor did, latest first.
        pub fn by_actor<'a>(actor: &audit_core::Actor) -> AuditLogQuery<'a> {
            all()
                .filter(
                    audit_logs::actor_type
                        .eq(audit_core::recorded_kind(actor.kind()).into_owned()),
                )
                .filter(
                    audit_logs::actor_id.eq(audit_core::recorded_id(actor.id()).into_owned()),
                )
                .order((audit_logs::occurred_at.desc(), audit_logs::id.desc()))
        }

        /// What happened in one organization since a time, oldest first.
        pub fn in_organization_since(
            organization: &str,
            since: chrono::DateTime<chrono::Utc>,
        ) -> AuditLogQuery<'_> {
            all()
                .filter(audit_logs::organization.eq(audit_core::recorded_id(organization)))
                .filter(audit_logs::occurred_at.ge(since))
                .order((audit_logs::occurred_at.asc(), audit_logs::id.asc()))
        }
    };
}

pub(super) use audit_tables;
