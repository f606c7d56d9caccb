use std::fmt;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::json::StoredJson;

/// One row of `audit_logs`. It is an ordinary Diesel model on each backend: select it with
/// `AuditLog::as_select()` from `audit_diesel::postgres::audit_logs` or
/// `audit_diesel::sqlite::audit_logs`.
#[derive(Debug, Clone, PartialEq, Queryable)]
#[non_exhaustive]
pub struct AuditLog {
    /// The record's id, a UUIDv7.
    #[diesel(deserialize_as = StoredUuid)]
    pub id: Uuid,
    /// When the row was changed: by the clock of PostgreSQL, or of the application on SQLite.
    pub occurred_at: DateTime<Utc>,
    /// When the record arrived, by the clock of the database.
    pub stored_at: DateTime<Utc>,
    /// `insert`, `update`, `delete`, or an event's own name.
    pub action: String,
    /// What kind of thing it is about, such as `users`.
    pub resource_type: Option<String>,
    /// Which one: the row's primary key as text.
    pub resource_id: Option<String>,
    /// `success`, `failure` or `denied`.
    pub outcome: String,
    /// The actor's kind, such as `user`.
    pub actor_type: Option<String>,
    /// The actor's id within the kind.
    pub actor_id: Option<String>,
    /// The organization that the change belongs to.
    pub organization: Option<String>,
    /// The project within the organization.
    pub project: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// Where the request came from.
    pub ip: Option<String>,
    /// Which part of the system the change came through.
    pub source: Option<String>,
    /// The API key that the request was made with.
    pub api_key_id: Option<String>,
    /// The OAuth client that the request came through.
    pub oauth_client_id: Option<String>,
    /// The same for all records of a transaction.
    #[diesel(deserialize_as = OptionalUuid)]
    pub transaction_id: Option<Uuid>,
    /// The record's place in its transaction.
    pub transaction_seq: Option<i32>,
    /// Field → `{"old":…,"new":…}`.
    #[diesel(deserialize_as = OptionalJson)]
    pub changes: Option<Value>,
    /// Whatever else the context or the event said.
    #[diesel(deserialize_as = OptionalJson)]
    pub extra: Option<Value>,
    /// SHA-256 of the record as it came; none in a row that came another way.
    pub digest: Option<Vec<u8>>,
}

/// One row of `audit_quarantine`: a record that could not be stored. Nothing takes it away from
/// there; push its payload into the queue again once the reason is gone.
#[derive(Clone, PartialEq, Queryable)]
#[non_exhaustive]
pub struct QuarantinedRecord {
    /// Computed from the payload.
    #[diesel(deserialize_as = StoredUuid)]
    pub id: Uuid,
    /// When that was.
    pub quarantined_at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// The record as it came, without the mark of a queue that had put it off; or the beginning of an
    /// entry that is longer than a record may be.
    pub payload: Vec<u8>,
}

impl fmt::Debug for QuarantinedRecord {
    /// Shows the payload's length only, as it may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuarantinedRecord")
            .field("id", &self.id)
            .field("quarantined_at", &self.quarantined_at)
            .field("reason", &self.reason)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A UUID as each backend stores it: PostgreSQL's own type, text on SQLite.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
pub struct StoredUuid(Uuid);

impl From<StoredUuid> for Uuid {
    fn from(stored: StoredUuid) -> Self {
        stored.0
    }
}

macro_rules! optional {
    ($(#[$doc:meta])* $name:ident, $stored:ty, $plain:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Option<$stored>);

        impl From<$name> for Option<$plain> {
            fn from(optional: $name) -> Self {
                optional.0.map(Into::into)
            }
        }

        impl<DB, St> Queryable<diesel::sql_types::Nullable<St>, DB> for $name
        where
            DB: diesel::backend::Backend,
            St: diesel::sql_types::SqlType<IsNull = diesel::sql_types::is_nullable::NotNull>,
            Option<$stored>: diesel::deserialize::FromStaticSqlRow<diesel::sql_types::Nullable<St>, DB>,
        {
            type Row = Option<$stored>;

            fn build(row: Self::Row) -> diesel::deserialize::Result<Self> {
                Ok(Self(row))
            }
        }
    };
}

optional!(
    /// A UUID or NULL.
    OptionalUuid,
    StoredUuid,
    Uuid
);
optional!(
    /// JSON or NULL.
    OptionalJson,
    StoredJson,
    Value
);

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::deserialize::{FromSql, Result};
    use diesel::pg::{Pg, PgValue};

    use super::StoredUuid;

    impl FromSql<diesel::sql_types::Uuid, Pg> for StoredUuid {
        fn from_sql(bytes: PgValue<'_>) -> Result<Self> {
            FromSql::<diesel::sql_types::Uuid, Pg>::from_sql(bytes).map(Self)
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use diesel::deserialize::{FromSql, Result};
    use diesel::sqlite::{Sqlite, SqliteValue};

    use super::StoredUuid;

    impl FromSql<diesel::sql_types::Text, Sqlite> for StoredUuid {
        fn from_sql(bytes: SqliteValue<'_, '_, '_>) -> Result<Self> {
            let text = <String as FromSql<diesel::sql_types::Text, Sqlite>>::from_sql(bytes)?;
            Ok(Self(text.parse()?))
        }
    }
}
