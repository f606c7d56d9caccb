//! PostgreSQL: an insert with a conflict clause is one statement, however many its rows.

use diesel::PgConnection;
use diesel::pg::Pg;
use diesel::query_builder::QueryFragment;
use diesel::result::QueryResult;

use super::on_conflict::{Insert, OnConflictDoNothing};
use super::select::rendered;
use super::{InsertReturning, RunInsert};
use crate::model::AuditedModel;
use crate::statement::ChangeStatement;

impl<'query, S, C, M, E, X> ChangeStatement<'query, PgConnection, M, E, X>
    for OnConflictDoNothing<S, C>
where
    S: Insert,
    S::Fragment: QueryFragment<Pg>,
    M: AuditedModel<Table = S::Table>,
    InsertReturning<S::Fragment, C, (M::Columns, E)>: RunInsert<'query, PgConnection, M, X>,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        let insert = self.insert.into_fragment();
        // Diesel renders an insert of no rows as a SELECT, which no conflict clause may follow.
        if rendered(&insert)?.starts_with("SELECT") {
            return Ok(Vec::new());
        }
        InsertReturning {
            insert,
            conflict: self.target,
            returning: (M::columns(), extra),
        }
        .run_insert(conn)
    }
}
