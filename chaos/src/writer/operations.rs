//! One operation of a writer: a statement by itself, or a transaction.

use audit_diesel::{AuditedSaveChangesDsl, Auditor, audited};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use crate::app::{Account, NewAccount, ROWS, accounts};
use crate::outcomes::Outcome;
use crate::random::Random;

/// An operation with its own source of choices.
pub struct Operation<'a> {
    op: &'a str,
    random: &'a mut Random,
    auditor: &'a Auditor,
    publish_early: bool,
    statements: u32,
}

impl<'a> Operation<'a> {
    pub fn new(
        op: &'a str,
        random: &'a mut Random,
        auditor: &'a Auditor,
        publish_early: bool,
    ) -> Self {
        Self {
            op,
            random,
            auditor,
            publish_early,
            statements: 0,
        }
    }

    /// Does one of the things that applications do.
    pub fn run(mut self, conn: &mut PgConnection) -> Outcome {
        let kind = self.random.within(0..17);
        if kind < 5 {
            return match self.alone(kind, conn) {
                Ok(()) => Outcome::Returned,
                Err(_) => Outcome::AutocommitFailed,
            };
        }
        let done = conn.transaction(|conn| {
            let done = self.together(kind, conn);
            if self.publish_early {
                self.publish(conn);
            }
            done
        });
        match done {
            Ok(()) => Outcome::Returned,
            Err(_) => Outcome::Failed,
        }
    }

    /// A statement that is its own transaction.
    fn alone(&mut self, kind: u64, conn: &mut PgConnection) -> QueryResult<()> {
        match kind {
            0 => self.insert(conn),
            1 => self.delete(conn),
            2 => self.bulk(conn),
            _ => self.update(conn),
        }
    }

    /// The statements of a transaction.
    fn together(&mut self, kind: u64, conn: &mut PgConnection) -> QueryResult<()> {
        match kind {
            5 => {
                self.insert(conn)?;
                self.update(conn)
            }
            6 => {
                // In no order: two writers may wait for each other, and one is refused.
                self.update(conn)?;
                self.update(conn)?;
                self.update(conn)
            }
            7 => {
                self.update(conn)?;
                Err(Error::RollbackTransaction)
            }
            8 => {
                self.update(conn)?;
                conn.transaction(|conn| self.update(conn))
            }
            9 => {
                self.update(conn)?;
                let _ = conn.transaction(|conn| {
                    self.update(conn)?;
                    self.insert(conn)?;
                    Err::<(), _>(Error::RollbackTransaction)
                });
                self.update(conn)
            }
            10 => {
                // The error is swallowed in a savepoint, and the rest is kept.
                self.update(conn)?;
                let _ = conn.transaction(|conn| {
                    self.update(conn)?;
                    self.refused(conn)
                });
                Ok(())
            }
            11 => {
                // The error is swallowed without one: the server rolls all of it back.
                self.update(conn)?;
                let _ = self.refused(conn);
                Ok(())
            }
            12 => {
                self.update(conn)?;
                self.refused_at_commit(conn)
            }
            13 => {
                self.bulk(conn)?;
                self.insert(conn)
            }
            14 => {
                self.delete(conn)?;
                self.update(conn)
            }
            15 => {
                // Nobody hears between the two that anything was undone; Diesel's own COMMIT ends
                // a transaction in which nothing was done.
                self.update(conn)?;
                conn.batch_execute("SAVEPOINT undone")?;
                self.update(conn)?;
                self.insert(conn)?;
                conn.batch_execute("ROLLBACK TO undone; COMMIT; BEGIN")
            }
            _ => self.save(conn),
        }
    }

    fn stamp(&mut self) -> String {
        self.statements += 1;
        format!("{}/{}", self.op, self.statements)
    }

    fn row(&mut self) -> i64 {
        self.random.within(1..ROWS as u64 + 1) as i64
    }

    fn update(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let (stamp, id) = (self.stamp(), self.row());
        let more = self.random.within(1..50) as i64;
        let changes = (
            accounts::stamp.eq(&stamp),
            accounts::version.eq(accounts::version + 1),
            accounts::balance.eq(accounts::balance + more),
            accounts::visits.eq(accounts::visits + 1),
        );
        let row = accounts::table.find(id);
        if self.random.one_in(3) {
            let note = (!self.random.one_in(3)).then(|| format!("a note \"of\" {stamp} ☂"));
            let more = (
                accounts::note.eq(note),
                accounts::seen.eq(accounts::seen + 1),
                accounts::api_token.eq(format!("token of {stamp}")),
            );
            audited::update(row).set((changes, more)).execute(conn)?;
        } else {
            audited::update(row).set(changes).execute(conn)?;
        }
        Ok(())
    }

    /// Several rows in one statement. The order of locks is left to the database.
    fn bulk(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let stamp = self.stamp();
        let first = self.random.within(1..ROWS as u64 - 3) as i64;
        let rows = accounts::table.filter(accounts::id.between(first, first + 4));
        audited::update(rows)
            .set((
                accounts::stamp.eq(&stamp),
                accounts::version.eq(accounts::version + 1),
                accounts::balance.eq(accounts::balance + 1),
            ))
            .execute(conn)?;
        Ok(())
    }

    fn insert(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let stamp = self.stamp();
        let row = NewAccount {
            stamp: &stamp,
            balance: 5,
            note: self.random.one_in(2).then_some("new"),
        };
        audited::insert_into(accounts::table)
            .values(row)
            .execute(conn)?;
        Ok(())
    }

    /// Deletes a few of the newest rows that came after the first ones.
    fn delete(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let newest: Vec<i64> = accounts::table
            .select(accounts::id)
            .filter(accounts::id.gt(ROWS))
            .order(accounts::id.desc())
            .limit(6)
            .load(conn)?;
        if newest.is_empty() {
            return Ok(());
        }
        let id = *self.random.choose(&newest);
        audited::delete(accounts::table.find(id)).execute(conn)?;
        Ok(())
    }

    fn save(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let mut account: Account = accounts::table
            .find(self.row())
            .for_update()
            .select(Account::as_select())
            .first(conn)?;
        account.stamp = self.stamp();
        account.version += 1;
        account.balance /= 2;
        let _: Account = account.audited_save_changes(conn)?;
        Ok(())
    }

    /// A statement that a constraint refuses.
    fn refused(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let (stamp, id) = (self.stamp(), self.row());
        audited::update(accounts::table.find(id))
            .set((accounts::stamp.eq(&stamp), accounts::balance.eq(-1)))
            .execute(conn)?;
        Ok(())
    }

    /// A statement that is fine until COMMIT.
    fn refused_at_commit(&mut self, conn: &mut PgConnection) -> QueryResult<()> {
        let (stamp, id) = (self.stamp(), self.row());
        audited::update(accounts::table.find(id))
            .set((accounts::stamp.eq(&stamp), accounts::note.eq("refuse")))
            .execute(conn)?;
        Ok(())
    }

    /// The design broken on purpose: what is not committed yet leaves.
    fn publish(&self, conn: &mut PgConnection) {
        let records = self.auditor.pending(conn).unwrap_or_default();
        let payloads: Vec<_> = records.iter().filter_map(|r| r.encode().ok()).collect();
        let _ = self.auditor.queue().push(&payloads);
    }
}
