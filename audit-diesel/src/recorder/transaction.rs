//! The records of the running transaction, and what the database decided about them.

use audit_core::{Payload, TransactionRef};
use uuid::Uuid;

use super::control::Control;
use crate::AuditError;

/// What differs between databases in how a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "only PostgreSQL has this dialect")
)]
pub(crate) enum Dialect {
    /// An error aborts the transaction; COMMIT then succeeds and rolls back. COMMIT always ends
    /// the transaction, whatever it returns.
    Postgres,
    /// An error leaves the transaction as it was, also at COMMIT. A savepoint outside of a
    /// transaction opens one.
    Sqlite,
}

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The database did it.
    Done,
    /// The database refused it.
    Refused,
    /// The connection was lost: it may have been done.
    Lost,
    /// An error on this side; what the database did is not known from it.
    Local,
}

/// A transaction that has ended, with its records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Committed(Vec<Payload>),
    RolledBack {
        records: usize,
    },
    /// The database knows, and has to be asked.
    InDoubt {
        payloads: Vec<Payload>,
        xid: Option<i64>,
    },
}

/// Holds records back until their transaction has ended.
#[derive(Debug)]
pub(super) struct TransactionBuffer {
    dialect: Dialect,
    max_bytes: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    id: Uuid,
    next_seq: u32,
    xid: Option<i64>,
    payloads: Vec<Payload>,
    bytes: usize,
    savepoints: Vec<Savepoint>,
    /// PostgreSQL refuses everything until a rollback, and turns COMMIT into one.
    aborted: bool,
    /// SQLite: opened by a savepoint, so releasing that one commits.
    opened_by_savepoint: bool,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    /// How much the transaction held when the savepoint was set.
    payloads: usize,
}

impl Open {
    fn new(opened_by_savepoint: bool) -> Self {
        Self {
            id: Uuid::now_v7(),
            next_seq: 0,
            xid: None,
            payloads: Vec::new(),
            bytes: 0,
            savepoints: Vec::new(),
            aborted: false,
            opened_by_savepoint,
        }
    }

    fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            payloads: self.payloads.len(),
        });
    }

    /// The place of the innermost savepoint of that name.
    fn find(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|s| s.name == name)
    }

    /// Drops what was recorded since the savepoint, which stays in force.
    fn rollback_to(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.savepoints.truncate(at + 1);
            self.payloads.truncate(self.savepoints[at].payloads);
            self.bytes = self.payloads.iter().map(|p| p.as_bytes().len()).sum();
        }
        self.aborted = false;
    }
}

impl TransactionBuffer {
    pub(super) fn new(dialect: Dialect, max_bytes: usize) -> Self {
        Self {
            dialect,
            max_bytes,
            open: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Collects the records of one statement.
    pub(super) fn statement(&mut self, xid: Option<i64>) -> Statement<'_> {
        let autocommit = self.open.is_none();
        let open = self.open.get_or_insert_with(|| Open::new(false));
        open.xid = open.xid.or(xid);
        Statement {
            buffer: self,
            autocommit,
        }
    }

    /// A query without transaction control was answered.
    pub(super) fn answered(&mut self, answer: Answer) {
        if let (Some(open), Dialect::Postgres) = (&mut self.open, self.dialect) {
            match answer {
                Answer::Refused => open.aborted = true,
                // An aborted transaction answers nothing, so it is not aborted (any more).
                Answer::Done => open.aborted = false,
                Answer::Lost | Answer::Local => {}
            }
        }
    }

    /// A query with transaction control was answered.
    pub(super) fn controlled(&mut self, control: &Control, answer: Answer) -> Option<Ended> {
        match control {
            Control::Commit { chain } => self.commit(answer, *chain),
            Control::Rollback { chain } => self.end(*chain).map(|open| Ended::RolledBack {
                records: open.payloads.len(),
            }),
            Control::Prepare if answer == Answer::Done => self.end(false).map(Open::in_doubt),
            _ if answer != Answer::Done => {
                self.answered(answer);
                None
            }
            Control::Begin => {
                // A second BEGIN is a warning in PostgreSQL: the transaction goes on.
                self.open.get_or_insert_with(|| Open::new(false));
                None
            }
            Control::Savepoint(name) => {
                let outermost = self.dialect == Dialect::Sqlite;
                self.open
                    .get_or_insert_with(|| Open::new(outermost))
                    .savepoint(name);
                None
            }
            Control::Release(name) => self.release(name),
            Control::RollbackTo(name) => {
                if let Some(open) = &mut self.open {
                    open.rollback_to(name);
                }
                None
            }
            Control::Prepare | Control::Other => None,
        }
    }

    /// The connection is gone, and with it an open transaction.
    pub(super) fn closed(&mut self) -> Option<Ended> {
        self.end(false).map(|open| Ended::RolledBack {
            records: open.payloads.len(),
        })
    }

    fn commit(&mut self, answer: Answer, chain: bool) -> Option<Ended> {
        if answer != Answer::Done && self.dialect == Dialect::Sqlite {
            // SQLite keeps the transaction open: COMMIT may be tried again, or rolled back.
            return None;
        }
        let open = self.end(chain)?;
        Some(match answer {
            Answer::Done if open.aborted => Ended::RolledBack {
                records: open.payloads.len(),
            },
            Answer::Done => Ended::Committed(open.payloads),
            Answer::Refused => Ended::RolledBack {
                records: open.payloads.len(),
            },
            Answer::Lost | Answer::Local => open.in_doubt(),
        })
    }

    fn release(&mut self, name: &str) -> Option<Ended> {
        let open = self.open.as_mut()?;
        let at = open.find(name)?;
        open.savepoints.truncate(at);
        if at == 0 && open.opened_by_savepoint {
            return self.end(false).map(|open| Ended::Committed(open.payloads));
        }
        None
    }

    fn end(&mut self, chain: bool) -> Option<Open> {
        let ended = self.open.take();
        if chain {
            self.open = Some(Open::new(false));
        }
        ended
    }
}

impl Open {
    fn in_doubt(self) -> Ended {
        Ended::InDoubt {
            payloads: self.payloads,
            xid: self.xid,
        }
    }
}

/// The records of one statement on their way into the buffer.
pub(super) struct Statement<'a> {
    buffer: &'a mut TransactionBuffer,
    /// Outside of a transaction a statement is its own.
    autocommit: bool,
}

impl Statement<'_> {
    /// The transaction and the place in it of the record that comes next.
    pub(super) fn next_ref(&mut self) -> TransactionRef {
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        let seq = open.next_seq;
        open.next_seq = seq.saturating_add(1);
        TransactionRef { id: open.id, seq }
    }

    pub(super) fn push(&mut self, payload: Payload) -> Result<(), AuditError> {
        let max_bytes = self.buffer.max_bytes;
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        open.bytes += payload.as_bytes().len();
        open.payloads.push(payload);
        // What was committed already has to be handed over, however much it is.
        if open.bytes > max_bytes && !self.autocommit {
            return Err(AuditError::TransactionTooLarge { max_bytes });
        }
        Ok(())
    }

    /// The records to publish now: those of a statement that was its own transaction.
    pub(super) fn finish(self) -> Option<Vec<Payload>> {
        if !self.autocommit {
            return None;
        }
        self.buffer.open.take().map(|open| open.payloads)
    }
}

impl Drop for Statement<'_> {
    /// A statement that fails half-way must not leave a transaction open that is none.
    fn drop(&mut self) {
        if self.autocommit {
            self.buffer.open = None;
        }
    }
}
