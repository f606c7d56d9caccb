//! What became of transactions whose end nobody saw, by what PostgreSQL knows.
#![cfg_attr(
    not(feature = "journal"),
    expect(
        dead_code,
        reason = "only a journal holds records of such transactions"
    )
)]

use std::collections::HashMap;

use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::QueryResult;

use super::backend::{AuditStore, Backend, TransactionStatus};
use super::database::Database;
use super::doubt::cluster;
use super::quarantine::quarantine;
use super::rights::TO_RESOLVE;
use crate::store::Refused;

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    Committed {
        /// The subtransactions of it that were rolled back to a savepoint, as far as was asked.
        undone: Vec<i64>,
    },
    Aborted,
    InProgress,
    /// Nobody can tell (any more), for this reason.
    Unknowable(String),
}

/// A transaction that is asked about.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) xid: i64,
    /// Which server gave the id.
    pub(crate) origin: String,
    /// Whether a server that did not give the id is asked for long enough.
    pub(crate) is_old: bool,
}

/// Tells what became of transactions, and takes the records of those that nobody knows.
pub(crate) trait Judge: Send + 'static {
    /// The rulings, one for each question.
    fn rule(&mut self, questions: Vec<Question>) -> Result<Vec<Ruling>, String>;

    /// What became of subtransactions of committed transactions.
    fn statuses(&mut self, ids: Vec<i64>) -> Result<HashMap<i64, TransactionStatus>, String>;

    /// Puts records into quarantine.
    fn quarantine(&mut self, refused: Vec<Refused>) -> Result<(), String>;
}

/// Asks a database.
pub(crate) struct PoolJudge<C: AuditStore>(Database<C>);

impl<C: AuditStore> PoolJudge<C> {
    pub(crate) fn new(pool: Pool<ConnectionManager<C>>) -> Self {
        Self(Database::new(pool, TO_RESOLVE))
    }
}

impl<C: AuditStore> Judge for PoolJudge<C> {
    fn rule(&mut self, questions: Vec<Question>) -> Result<Vec<Ruling>, String> {
        let rulings = self.0.run(|conn| rulings(conn, &questions));
        rulings.map_err(String::from)
    }

    fn statuses(&mut self, ids: Vec<i64>) -> Result<HashMap<i64, TransactionStatus>, String> {
        let statuses = self
            .0
            .run(|conn| conn.bounded(|conn| conn.transaction_statuses(&ids)));
        Ok(statuses.map_err(String::from)?.into_iter().collect())
    }

    fn quarantine(&mut self, refused: Vec<Refused>) -> Result<(), String> {
        let quarantined = self
            .0
            .run(|conn| conn.batch(|conn| quarantine(conn, &refused)));
        quarantined.map(drop).map_err(String::from)
    }
}

fn rulings<C: Backend>(conn: &mut C, questions: &[Question]) -> QueryResult<Vec<Ruling>> {
    conn.bounded(|conn| {
        let here = conn.server_identity()?.unwrap_or_default();
        let rulings = questions.iter().map(|question| {
            if cluster(&question.origin) != cluster(&here) {
                return Ok(foreign(question));
            }
            let status = conn.transaction_status(question.xid)?;
            Ok(ruling(status, question, question.origin == here))
        });
        rulings.collect()
    })
}

fn ruling(status: TransactionStatus, question: &Question, since_crash: bool) -> Ruling {
    let xid = question.xid;
    match status {
        // An id that was not on disk in a crash is given again, to a transaction that may commit.
        TransactionStatus::Committed if !since_crash => Ruling::Unknowable(format!(
            "PostgreSQL crashed or was restored after transaction {xid} had written: one with this \
             id was committed, and it may be another one"
        )),
        TransactionStatus::Committed => Ruling::Committed { undone: Vec::new() },
        // If the id was given again, the first one was not committed either.
        TransactionStatus::Aborted => Ruling::Aborted,
        TransactionStatus::InProgress => Ruling::InProgress,
        TransactionStatus::Unknown => Ruling::Unknowable(format!(
            "PostgreSQL cannot tell (any more) whether transaction {xid} was committed: its id is \
             too old, or the server crashed or was restored to a time before it"
        )),
    }
}

/// Its ids mean other transactions here.
fn foreign(question: &Question) -> Ruling {
    if !question.is_old {
        return Ruling::InProgress;
    }
    Ruling::Unknowable(format!(
        "transaction {} ran on another PostgreSQL server or timeline ({}) than the one that is \
         asked, so nobody can tell whether it was committed",
        question.xid, question.origin
    ))
}
