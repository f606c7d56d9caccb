//! Audit logs for Diesel.

#![warn(missing_docs)]

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!(
    "audit-diesel needs a database: enable its feature `postgres` or `sqlite`, as for Diesel"
);

mod auditor;
mod connection;
mod consumer;
mod error;
mod model;
mod queue;
mod recorder;
mod statement;
mod store;
pub mod testing;

pub use audit_core::*;
pub use audit_derive::Auditable;
pub use auditor::{
    AuditedBackend, Auditor, AuditorBuilder, AuditorCustomizer, AuditorStats, ConfigError,
};
pub use connection::AuditedConnection;
pub use consumer::{
    AuditStore, Consumer, ConsumerBuilder, ConsumerError, ConsumerStats, FlushError, StopError,
};
pub use error::AuditError;
pub use model::{AuditedBy, AuditedColumns, AuditedModel};
#[cfg(feature = "journal")]
pub use queue::{Fsync, Journal, JournalBuilder};
#[cfg(feature = "redis")]
pub use queue::{RedisQueue, RedisQueueBuilder};
pub use statement::AuditedSaveChangesDsl;
#[cfg(feature = "postgres")]
pub use store::postgres;
#[cfg(feature = "sqlite")]
pub use store::sqlite;
pub use store::{AuditLog, QuarantinedRecord};

/// Stands where `diesel::` stood: the statements whose changes are recorded.
pub mod audited {
    pub use crate::statement::{delete, insert_into, update};

    /// The types of audited statements, for signatures that have to name them.
    pub mod statement {
        pub use crate::statement::{
            Audited, ChangeStatement, IncompleteInsert, IncompleteOnConflict, IncompleteUpdate,
            TargetTable, UpdateStatement,
        };
    }
}

/// What generated code refers to. Not part of the public API.
#[doc(hidden)]
pub mod __private {
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
