//! The pool as the consumer, the confirmer and the resolver use it: one connection for one piece of
//! work, and what its failure means.

use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use std::time::Duration;

use super::Undelivered;
use super::backend::AuditStore;
use super::error::discreet;
use super::probe::TableRefusesAll;
use super::rights::Right;

/// How long to wait for a connection of the pool: less than `stop()` may take.
const POOL_TIMEOUT: Duration = Duration::from_secs(3);

/// A pool of connections to the trail.
pub(super) struct Database<C: AuditStore> {
    pool: Pool<ConnectionManager<C>>,
    /// What its role has to be allowed to do.
    needs: &'static [Right],
}

impl<C: AuditStore> Database<C> {
    pub(super) fn new(pool: Pool<ConnectionManager<C>>, needs: &'static [Right]) -> Self {
        Self { pool, needs }
    }

    /// Does it with a connection. One that is read-only is given up, and the next is tried: after a
    /// switch-over all that the pool holds may lead to the server that was the primary.
    pub(super) fn run<T>(
        &self,
        mut work: impl FnMut(&mut C) -> QueryResult<T>,
    ) -> Result<T, Undelivered> {
        let mut others = self.pool.state().idle_connections;
        loop {
            let conn = &mut self.connection()?;
            let error = match work(conn) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if is_read_only(&error) && others > 0 {
                conn.give_up();
                others -= 1;
                continue;
            }
            return Err(self.undelivered(conn, &error));
        }
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<C>>, Undelivered> {
        let conn = self.pool.get_timeout(POOL_TIMEOUT);
        conn.map_err(|error| {
            let said = discreet(&error.to_string());
            Undelivered::Outage(format!("no database connection: {said}"))
        })
    }

    fn undelivered(&self, conn: &mut C, error: &Error) -> Undelivered {
        let problem = error.to_string();
        if conn.was_closed(&problem) {
            return Undelivered::Cut(problem);
        }
        // Without a right every row is refused.
        if let Ok(Some(missing)) = conn.missing_right(self.needs) {
            return Undelivered::Unusable(format!("{missing} ({problem})"));
        }
        if TableRefusesAll::is_why(error) {
            return Undelivered::Unusable(problem);
        }
        // What fails may be this session's fault, by its settings or by where it leads.
        conn.give_up();
        Undelivered::Failed(problem)
    }
}

fn is_read_only(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
    )
}
