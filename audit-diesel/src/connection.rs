//! Which connections audited statements run on.

#[cfg(feature = "sqlite")]
mod sqlite;

use diesel::Connection;
use diesel::connection::LoadConnection;
use diesel::r2d2::{ConnectionManager, PooledConnection, R2D2Connection};
use diesel::result::QueryResult;

/// A connection that audited statements run on: Diesel's own, or one behind a pool.
///
/// Implement it for a connection type of your own that wraps one of Diesel's; it has to pass
/// [`instrumentation`](Connection::instrumentation) on to the wrapped one.
pub trait AuditedConnection: Connection {
    /// Diesel's connection that does the work.
    type Raw: RawConnection<Backend = Self::Backend>;

    /// Diesel's connection that does the work.
    fn raw(&mut self) -> &mut Self::Raw;
}

/// One of Diesel's own connections.
pub trait RawConnection: LoadConnection {
    /// Runs an audited statement: what it changes is recorded before another connection can change
    /// the same rows, so that times follow the order of commits.
    #[doc(hidden)]
    fn run_statement<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>)
    -> QueryResult<T>;
}

/// PostgreSQL names the time itself, under the row's lock.
#[cfg(feature = "postgres")]
impl RawConnection for diesel::PgConnection {
    fn run_statement<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        run(self)
    }
}

#[cfg(feature = "postgres")]
impl AuditedConnection for diesel::PgConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

impl<C> AuditedConnection for PooledConnection<ConnectionManager<C>>
where
    C: AuditedConnection<Raw = C> + RawConnection + R2D2Connection + 'static,
{
    type Raw = C;

    fn raw(&mut self) -> &mut C {
        self
    }
}
