//! Audit logs for Diesel: who changed which field of which row, from what to what.
//!
//! Derive [`Auditable`] on a model, write [`audited::update`](fn@audited::update) where `diesel::update` stood, and
//! every change ends up in the table `audit_logs`:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! use audit_diesel::{Actor, AuditContext, Auditable, Auditor, MemoryQueue, audited};
//! use diesel::prelude::*;
//!
//! # diesel::table! {
//! #     users (id) {
//! #         id -> Integer,
//! #         role -> Text,
//! #         api_token -> Text,
//! #     }
//! # }
//! #[derive(Queryable, Selectable, Identifiable, Auditable)]
//! #[diesel(table_name = users)]
//! struct User {
//!     id: i32,
//!     role: String,
//!     #[audit(redact)]
//!     api_token: String,
//! }
//!
//! # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In memory here; `.redis(url).journal(path)` in production.
//! let queue = MemoryQueue::new();
//! let auditor = Auditor::builder().queue(queue.clone()).build()?;
//! let conn = &mut SqliteConnection::establish(":memory:")?;
//! auditor.attach(conn);
//! # diesel::sql_query("CREATE TABLE users (id integer NOT NULL PRIMARY KEY, role text NOT NULL, api_token text NOT NULL)").execute(conn)?;
//! # diesel::sql_query("INSERT INTO users VALUES (7, 'member', 's3cret')").execute(conn)?;
//!
//! AuditContext::new(Actor::user("42")).scope(|| {
//!     audited::update(users::table.find(7))
//!         .set((users::role.eq("admin"), users::api_token.eq("n3w")))
//!         .execute(conn)
//! })?;
//!
//! let record = &queue.records()?[0];
//! assert_eq!(
//!     record.changes.as_ref().unwrap().as_json(),
//!     r#"{"role":{"old":"member","new":"admin"},"api_token":{"redacted":true}}"#
//! );
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "sqlite")]
//! # example::main().unwrap();
//! ```
//!
//! A record leaves when its transaction is committed. It goes to a [`Queue`] (a journal in a
//! SQLite file, a Redis list, or the one in front of the other), and a [`Consumer`] stores it.
//!
//! What catches a write that would leave no record is told in [`docs::nobody_forgets`], and what a write
//! of a view, a partitioned table or another kind of relation does in [`docs::relations`].
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `postgres`, `sqlite` | the databases that the application's tables and `audit_logs` are in, as for Diesel; at least one |
//! | `redis` | the queue in a Redis list |
//! | `redis-tls` | the same, also over TLS: `rediss://` |
//! | `journal` | the queue in a SQLite file |
//! | `bundled` | on by default: where SQLite is used, its own build is linked; without, the system's `libsqlite3`, 3.35 or later |

#![warn(missing_docs)]

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!(
    "audit-diesel needs a database: enable its feature `postgres` or `sqlite`, as for Diesel"
);

mod auditor;
mod connection;
mod consumer;
mod contained;
mod delivery;
mod dialect;
pub mod docs;
mod error;
mod exempt;
mod failpoint;
mod guard;
mod log;
mod model;
mod panics;
mod queue;
mod recorder;
#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "each database has its own kinds of relations")
)]
mod relation;
mod schema;
mod sql;
mod statement;
mod store;
pub mod testing;
#[cfg(feature = "sqlite")]
mod turns;

pub use audit_core::*;
pub use audit_derive::{Auditable, audit_schema};
pub use auditor::{
    AuditedBackend, Auditor, AuditorBuilder, AuditorCustomizer, AuditorStats, ConfigError,
    ShutdownError,
};
pub use connection::AuditedConnection;
pub use consumer::{
    AuditStore, Consumer, ConsumerBuilder, ConsumerError, ConsumerStats, FlushError, StopError,
};
pub use delivery::Delivery;
pub use error::AuditError;
pub use exempt::exempt;
pub use guard::GuardMode;
pub use model::{
    AuditedBy, AuditedColumns, AuditedModel, AuditedRow, ColumnDecision, Decided, RecordedField,
};
#[cfg(feature = "journal")]
pub use queue::{Fsync, Journal, JournalBuilder};
#[cfg(feature = "redis")]
pub use queue::{RedisQueue, RedisQueueBuilder};
pub use schema::{AuditedSchema, Coverage, SchemaTable};
pub use statement::{AuditedInsertDsl, AuditedSaveChangesDsl};
#[cfg(feature = "postgres")]
pub use store::postgres;
#[cfg(feature = "sqlite")]
pub use store::sqlite;
pub use store::{AuditLog, QuarantinedRecord};

/// Stands where `diesel::` stood: the statements whose changes are recorded.
///
/// Write `audited::update(…)`, or import by name: `use audit_diesel::audited::{insert_into, update};`. Two
/// globs, `use audit_diesel::audited::*;` and `use diesel::*;`, hold the same names, and the one that
/// stands first wins: the compiler only warns of that where they come from other crates, and a crate
/// cannot make it more. `#![deny(ambiguous_glob_imports)]` in the application makes it an error.
///
/// [`audited::dsl`](mod@crate::audited::dsl) has the types of the statements by name, and
/// [`audited::statement`](mod@crate::audited::statement) what they are made of.
pub mod audited {
    pub use crate::statement::dsl;
    #[cfg(feature = "sqlite")]
    pub use crate::statement::dsl::insert_or_ignore_into;
    pub use crate::statement::dsl::{delete, insert_into, replace_into, update};

    /// The types of audited statements, for signatures that have to name them. [`dsl`] has shorter
    /// names for what a chain of calls makes.
    pub mod statement {
        pub use crate::statement::{
            AllColumns, And, AndFilter, AnyConflict, Audited, Boxed, ChangeStatement,
            ConflictTarget, Extra, FilteredTarget, IncompleteInsert, IncompleteOnConflict,
            IncompleteUpdate, Insert, InsertDefaults, InsertFragment, InsertFromSelect,
            InsertOrIgnore, InsertValues, Mark, OnConflictDoNothing, Returning, ReturningClause,
            ShowSql, Target, TargetTable, UpdateStatement, WriteMark,
        };
    }
}

/// What generated code refers to. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::model::{
        FitsNowhere, Probe, ReadAs, UNREADABLE, fits_column, load, load_as, write,
    };
    pub use crate::schema::macros as schema;
    pub use diesel;

    pub use serde::Serialize;
    pub use std::string::String;
    pub use std::sync::OnceLock;

    use std::fmt::{Debug, Display};

    use crate::{AuditedBy, AuditedModel};

    /// Compiles where the compiler can tell the table's model, which it cannot where there are two.
    pub fn one_model_for_each_table<T, TheModel>(_: T)
    where
        T: AuditedBy<TheModel>,
        TheModel: AuditedModel<Table = T>,
    {
    }

    /// A part of a key, as it is serialised.
    #[derive(Debug)]
    pub struct KeyPart<'a, T: ?Sized>(pub &'a T);

    impl<'a, T: serde::Serialize + ?Sized> KeyPart<'a, T> {
        /// The value itself.
        pub fn form(self) -> &'a T {
            self.0
        }
    }

    /// Found where the value cannot be serialised, of which the compiler speaks already.
    pub trait KeyWithoutForm: Sized {
        /// Nothing.
        fn form(self) -> &'static () {
            &()
        }
    }

    impl<T: ?Sized> KeyWithoutForm for KeyPart<'_, T> {}

    /// The form of `#[audit(display)]`.
    pub fn display<T: Display + ?Sized>(value: &T) -> String {
        value.to_string()
    }

    /// The form of `#[audit(debug)]`.
    pub fn debug<T: Debug + ?Sized>(value: &T) -> String {
        format!("{value:?}")
    }

    /// The table's name as it stands in SQL, without quotes: `users`, `auth.users`.
    pub fn table_name<T>(table: T, name: &'static OnceLock<String>) -> &'static str
    where
        T: diesel::QuerySource,
        T::FromClause: TableName,
    {
        name.get_or_init(|| table.from_clause().table_name())
    }

    /// A FROM clause that can say its table's name, on whichever backend is built in.
    pub trait TableName {
        /// The name without quotes.
        fn table_name(&self) -> String;
    }

    #[cfg(feature = "postgres")]
    impl<F: diesel::query_builder::QueryFragment<diesel::pg::Pg>> TableName for F {
        fn table_name(&self) -> String {
            unquoted::<diesel::pg::Pg>(self)
        }
    }

    #[cfg(all(feature = "sqlite", not(feature = "postgres")))]
    impl<F: diesel::query_builder::QueryFragment<diesel::sqlite::Sqlite>> TableName for F {
        fn table_name(&self) -> String {
            unquoted::<diesel::sqlite::Sqlite>(self)
        }
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn unquoted<DB>(from_clause: &dyn diesel::query_builder::QueryFragment<DB>) -> String
    where
        DB: diesel::backend::Backend + Default,
        DB::QueryBuilder: Default,
    {
        use diesel::query_builder::QueryBuilder;
        let mut sql = DB::QueryBuilder::default();
        match from_clause.to_sql(&mut sql, &DB::default()) {
            Ok(()) => sql.finish().replace(['"', '`'], ""),
            Err(_) => String::new(),
        }
    }
}
