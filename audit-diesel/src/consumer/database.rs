//! The pool as the consumer, the confirmer and the resolver use it: one connection for one piece of
//! work, and what its failure means.

use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::result::{Error, QueryResult};
use std::time::{Duration, Instant};

use super::Undelivered;
use super::backend::AuditStore;
use super::error::discreet;
use super::probe::TableRefusesAll;
use super::rights::Right;

/// How long to wait for a connection of the pool: less than `stop()` may take.
const POOL_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a connection is given up at most.
const GIVEN_UP_EVERY: Duration = Duration::from_secs(1);

/// A pool of connections to the trail.
pub(super) struct Database<C: AuditStore> {
    pool: Pool<ConnectionManager<C>>,
    /// What its role has to be allowed to do.
    needs: &'static [Right],
    /// When a connection was given up last.
    given_up: Option<Instant>,
}

impl<C: AuditStore> Database<C> {
    pub(super) fn new(pool: Pool<ConnectionManager<C>>, needs: &'static [Right]) -> Self {
        Self {
            pool,
            needs,
            given_up: None,
        }
    }

    /// Does it with a connection.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut C) -> QueryResult<T>,
    ) -> Result<T, Undelivered> {
        let conn = &mut self.connection()?;
        work(conn).map_err(|error| self.undelivered(conn, &error))
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<C>>, Undelivered> {
        let conn = self.pool.get_timeout(POOL_TIMEOUT);
        conn.map_err(|error| {
            let said = discreet(&error.to_string());
            Undelivered::Outage(format!("no database connection: {said}"))
        })
    }

    fn undelivered(&mut self, conn: &mut C, error: &Error) -> Undelivered {
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
        self.give_up(conn);
        Undelivered::Failed(problem)
    }

    /// Has the pool make another connection instead of this one, now and then: what fails may be this
    /// session's fault, by its settings or by where it leads, as after a switch-over. The pool's other
    /// connections are the application's as well, which may read what the consumer cannot write.
    fn give_up(&mut self, conn: &mut C) {
        let now = Instant::now();
        let is_due = |at: Instant| now.saturating_duration_since(at) >= GIVEN_UP_EVERY;
        if self.given_up.is_none_or(is_due) {
            self.given_up = Some(now);
            conn.give_up();
        }
    }
}
