//! Which connections audited statements run on.

use diesel::Connection;
use diesel::connection::LoadConnection;
use diesel::r2d2::{ConnectionManager, PooledConnection, R2D2Connection};

/// A connection that audited statements run on: Diesel's own, or one behind a pool.
///
/// Implement it for a connection type of your own that wraps one of Diesel's; it has to pass
/// [`instrumentation`](Connection::instrumentation) on to the wrapped one.
pub trait AuditedConnection: Connection {
    /// Diesel's connection that does the work.
    type Raw: LoadConnection<Backend = Self::Backend>;

    /// Diesel's connection that does the work.
    fn raw(&mut self) -> &mut Self::Raw;
}

#[cfg(feature = "postgres")]
impl AuditedConnection for diesel::PgConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

#[cfg(feature = "sqlite")]
impl AuditedConnection for diesel::SqliteConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

impl<C> AuditedConnection for PooledConnection<ConnectionManager<C>>
where
    C: AuditedConnection<Raw = C> + LoadConnection + R2D2Connection + 'static,
{
    type Raw = C;

    fn raw(&mut self) -> &mut C {
        self
    }
}
