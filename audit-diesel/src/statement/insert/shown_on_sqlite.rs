//! SQLite: Diesel keeps to itself whether rows are inserted one by one. To show an insert, Diesel runs
//! it here too, on a connection that only writes the statements down.

use diesel::connection::{
    CacheSize, Connection, Instrumentation, SimpleConnection, TransactionManager,
    TransactionManagerStatus,
};
use diesel::insertable::Insertable;
use diesel::internal::derives::multiconnection::ConnectionSealed;
use diesel::query_builder::{InsertOrIgnoreStatement, InsertStatement, QueryFragment, QueryId};
use diesel::query_dsl::methods::ExecuteDsl;
use diesel::result::{ConnectionError, ConnectionResult, QueryResult};
use diesel::sqlite::Sqlite;
use diesel::{SqliteConnection, Table};

use super::on_conflict::{DoNothing, InsertFragment, OnConflictDoNothing};
use super::{InsertOrIgnore, InsertValues, NoConflict, is_of_no_rows};
use crate::model::{AuditedModel, AuditedRow};
use crate::statement::columns::{Columns, ColumnsAnd};
use crate::statement::debug::{ShowSql, rendered};

/// Takes statements down instead of running them.
#[derive(Default)]
pub struct Transcript {
    /// What completes each statement.
    ending: String,
    statements: Vec<String>,
    transaction: TransactionManagerStatus,
    instrumentation: Option<Box<dyn Instrumentation>>,
}

/// What `insert` runs as, with the conflict clause and RETURNING.
fn taken_down<M, I>(
    insert: I,
    conflict: &dyn QueryFragment<Sqlite>,
    extra: &dyn QueryFragment<Sqlite>,
) -> QueryResult<String>
where
    M: AuditedModel + AuditedRow<Sqlite>,
    I: ExecuteDsl<Transcript, Sqlite>,
{
    let conflict = rendered(conflict)?;
    let columns = Columns::of::<M, SqliteConnection>();
    let returning = rendered::<Sqlite>(&ColumnsAnd::<M, _>::new(columns, extra))?;
    let mut transcript = Transcript {
        ending: format!("{conflict} RETURNING {returning}"),
        ..Transcript::default()
    };
    I::execute(insert, &mut transcript)?;
    Ok(transcript.statements.join("; "))
}

impl<T, V, M> ShowSql<Sqlite, M> for InsertValues<T, V>
where
    T: Table + Clone,
    V: Insertable<T> + Clone,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    InsertStatement<T, V::Values>: ExecuteDsl<Transcript, Sqlite>,
{
    fn show(&self, extra: &dyn QueryFragment<Sqlite>) -> QueryResult<String> {
        let insert = diesel::insert_into(self.table.clone()).values(self.records.clone());
        taken_down::<M, _>(insert, &NoConflict, extra)
    }
}

impl<T, V, M> ShowSql<Sqlite, M> for InsertValues<T, V, InsertOrIgnore>
where
    T: Table + Clone,
    V: Insertable<T> + Clone,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    InsertOrIgnoreStatement<T, V::Values>: ExecuteDsl<Transcript, Sqlite>,
{
    fn show(&self, extra: &dyn QueryFragment<Sqlite>) -> QueryResult<String> {
        let insert = diesel::insert_or_ignore_into(self.table.clone()).values(self.records.clone());
        taken_down::<M, _>(insert, &NoConflict, extra)
    }
}

impl<S, C, M> ShowSql<Sqlite, M> for OnConflictDoNothing<S, C>
where
    S: InsertFragment + Clone,
    S::Fragment: ExecuteDsl<Transcript, Sqlite>,
    C: QueryFragment<Sqlite>,
    M: AuditedModel<Table = S::Table> + AuditedRow<Sqlite>,
{
    fn show(&self, extra: &dyn QueryFragment<Sqlite>) -> QueryResult<String> {
        let insert = self.insert.clone().into_fragment();
        taken_down::<M, _>(insert, &DoNothing(&self.target), extra)
    }
}

impl ConnectionSealed for Transcript {}

impl SimpleConnection for Transcript {
    fn batch_execute(&mut self, _: &str) -> QueryResult<()> {
        Ok(())
    }
}

impl Connection for Transcript {
    type Backend = Sqlite;
    type TransactionManager = NoTransactions;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection("it runs nothing".into()))
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Sqlite> + QueryId,
    {
        let mut sql = rendered(source)?;
        if !is_of_no_rows(&sql) {
            sql.push_str(&self.ending);
            self.statements.push(sql);
        }
        Ok(0)
    }

    fn transaction_state(&mut self) -> &mut TransactionManagerStatus {
        &mut self.transaction
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut self.instrumentation
    }

    fn set_instrumentation(&mut self, _: impl Instrumentation) {}

    fn set_prepared_statement_cache_size(&mut self, _: CacheSize) {}
}

/// Rows that are inserted one by one are so in a transaction, which nothing has to be written for.
pub struct NoTransactions;

impl TransactionManager<Transcript> for NoTransactions {
    type TransactionStateData = TransactionManagerStatus;

    fn begin_transaction(_: &mut Transcript) -> QueryResult<()> {
        Ok(())
    }

    fn rollback_transaction(_: &mut Transcript) -> QueryResult<()> {
        Ok(())
    }

    fn commit_transaction(_: &mut Transcript) -> QueryResult<()> {
        Ok(())
    }

    fn transaction_manager_status_mut(conn: &mut Transcript) -> &mut TransactionManagerStatus {
        &mut conn.transaction
    }
}
