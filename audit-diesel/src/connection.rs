//! Which connections audited statements run on.

mod atomic;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use atomic::within_savepoint;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{busy_timeout, turns_of};

use diesel::Connection;
use diesel::connection::LoadConnection;
use diesel::r2d2::{ConnectionManager, PooledConnection, R2D2Connection};
use diesel::result::{Error, QueryResult};

use crate::auditor::AuditedBackend;
use crate::relation::{Relation, Write};
use crate::store::EntryToStore;

/// A connection that audited statements run on: Diesel's own, or one behind a pool.
///
/// Implement it for a connection type of your own that wraps one of Diesel's; it has to pass
/// [`instrumentation`](Connection::instrumentation) on to the wrapped one. An enum with
/// `#[derive(MultiConnection)]` wraps one or the other: match on it, and run the statement on the
/// connection inside.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../docs/accounts.rs");
/// use audit_diesel::AuditedConnection;
/// use diesel::result::QueryResult;
///
/// /// For a `SqliteConnection` and for one from a pool.
/// fn close<C>(conn: &mut C, id: i32) -> QueryResult<usize>
/// where
///     C: AuditedConnection<Raw = SqliteConnection>,
/// {
///     audited::update(accounts::table.find(id)).set(accounts::closed.eq(true)).execute(conn)
/// }
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     let (_, mut conn) = accounts_in_memory()?;
/// #     assert_eq!(close(&mut conn, 1)?, 0);
/// #     Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "audited statements do not run on `{Self}`: pass Diesel's own connection, a `PgConnection` or \
               a `SqliteConnection`, or one from an r2d2 pool",
    label = "not a connection that can be audited",
    note = "of an enum with `#[derive(MultiConnection)]`, match on it and run the statement on the \
            connection inside",
    note = "connections of diesel_async are not supported yet: run the statement on a connection of Diesel's, \
            by `spawn_blocking` or `interact`",
    note = "a function over any connection asks for `AuditedConnection<Raw = PgConnection>`",
    note = "for a type of your own that wraps one of Diesel's, implement `AuditedConnection`"
)]
pub trait AuditedConnection: Connection<Backend: AuditedBackend> {
    /// Diesel's connection that does the work.
    type Raw: RawConnection<Backend = Self::Backend>;

    /// Diesel's connection that does the work.
    fn raw(&mut self) -> &mut Self::Raw;
}

/// One of Diesel's own connections.
pub trait RawConnection: LoadConnection<Backend: AuditedBackend> + 'static {
    /// Whether the database counts what the triggers of a view write.
    #[doc(hidden)]
    const COUNTS_ROWS_OF_VIEWS: bool;

    /// Prepares the connection for a consumer that writes to the same database, once an auditor is
    /// attached.
    #[doc(hidden)]
    fn attached(&mut self) {}

    /// Runs an audited statement: what it changes is recorded before another connection can change
    /// the same rows, so that times follow the order of commits.
    #[doc(hidden)]
    fn run_statement<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>)
    -> QueryResult<T>;

    /// Runs an audited statement that writes its records itself: both are kept, or neither.
    #[doc(hidden)]
    fn run_with_records<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T>;

    /// Refuses a database that audited statements cannot run on.
    #[doc(hidden)]
    fn check_supported(&mut self) -> QueryResult<()> {
        Ok(())
    }

    /// Inserts the records of one statement into `audit_logs`.
    #[doc(hidden)]
    fn store_records(&mut self, entries: &EntriesToStore) -> QueryResult<()>;

    /// Which server this is, where transactions have ids that it can be asked about: ids that one
    /// server gave mean other transactions on another.
    #[doc(hidden)]
    fn server_identity(&mut self) -> QueryResult<Option<String>>;

    /// Which database this is, by a name that no other has.
    #[doc(hidden)]
    fn database_identity(&mut self) -> QueryResult<Option<String>>;

    /// Comes before whatever is asked about a write that is about to run: takes the lock that the write
    /// takes, where a connection that has read may not get it any more. Says the version of the schema
    /// that the table is in, where the database has one and it is the same until the write has run.
    #[doc(hidden)]
    fn before_questions(&mut self, _: &PlannedWrite) -> QueryResult<Option<i32>> {
        Ok(None)
    }

    /// What the relation is that a write's table name means here.
    #[doc(hidden)]
    fn relation(&mut self, write: &PlannedWrite) -> QueryResult<RelationFacts>;

    /// Whether a prepared statement failed as it would return other types than it did.
    #[doc(hidden)]
    fn is_stale_plan(error: &Error) -> bool;

    /// Goes back to before a statement that the database refused, so that it can be tried again:
    /// false where that cannot be.
    #[doc(hidden)]
    fn go_back(&mut self) -> bool;

    /// Says in the database's refusal of an audited statement what is particular about that one.
    #[doc(hidden)]
    fn explained(error: Error) -> Error;

    /// Sees to it that the open transaction cannot be committed with a change whose record could
    /// not be written, where [`run_with_records`](Self::run_with_records) does not.
    #[doc(hidden)]
    fn spoil_transaction(&mut self);
}

/// A write that is about to run, of a table whose name stands so in SQL, for a model with this key.
#[doc(hidden)]
#[derive(Debug)]
pub struct PlannedWrite {
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(
            dead_code,
            reason = "PostgreSQL's locks do not depend on what was asked before"
        )
    )]
    pub(crate) write: Write,
    pub(crate) table: &'static str,
    pub(crate) key: &'static [&'static str],
}

/// Keeps [`Relation`] out of the public API.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct RelationFacts(pub(crate) Relation);

/// Keeps [`EntryToStore`] out of the public API.
#[doc(hidden)]
#[derive(Debug)]
pub struct EntriesToStore(pub(crate) Vec<EntryToStore>);

impl<C> AuditedConnection for PooledConnection<ConnectionManager<C>>
where
    C: AuditedConnection<Raw = C> + RawConnection + R2D2Connection + 'static,
{
    type Raw = C;

    fn raw(&mut self) -> &mut C {
        self
    }
}
