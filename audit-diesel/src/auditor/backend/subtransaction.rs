//! Which subtransaction of PostgreSQL writes now.
//!
//! Each savepoint begins a subtransaction with an id of its own, and `pg_xact_status` tells of that
//! id whether what was written under it was kept: `aborted` after a rollback to the savepoint,
//! though the transaction was committed. No function names the id, and a deleted row's `xmax` may
//! be that of a shared lock. But each id is locked by its own transaction while that runs, and the
//! youngest one held belongs to the innermost subtransaction that has an id.

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Nullable};

/// The id of the subtransaction that the innermost savepoint has begun; `depth` is how many
/// savepoints are in force, where that is known. The transaction itself has to have an id.
pub(super) fn writer<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    depth: Option<usize>,
) -> QueryResult<Option<i64>> {
    // The transaction and each savepoint that anything was written in hold one id.
    let of_innermost = depth.map(|depth| YoungestId {
        of_more_than: depth as i64,
    });
    let found = of_innermost.map_or(Ok(None), |question| question.get_result(conn))?;
    match found {
        Some(id) => Ok(Some(id)),
        None => {
            begin_writing(conn)?;
            YoungestId { of_more_than: 0 }.get_result(conn)
        }
    }
}

/// Writes nothing but a note into PostgreSQL's log, by which the subtransaction gets an id.
fn begin_writing<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
    const NOTE: &str =
        "1::bigint FROM pg_catalog.pg_logical_emit_message(true, 'audit-diesel', '')";
    let noted: QueryResult<i64> = diesel::select(sql::<BigInt>(NOTE)).get_result(conn);
    noted.map(drop)
}

/// The youngest id that the connection's transaction holds, if it holds more than so many.
#[derive(QueryId)]
struct YoungestId {
    of_more_than: i64,
}

impl Query for YoungestId {
    type SqlType = Nullable<BigInt>;
}

impl<Conn> RunQueryDsl<Conn> for YoungestId {}

impl QueryFragment<Pg> for YoungestId {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT CASE WHEN count(*) > ");
        out.push_bind_param::<BigInt, _>(&self.of_more_than)?;
        // A lock names 32 bits of an id, which is younger than the transaction's own.
        out.push_sql(
            " THEN txid_current() + max((transactionid::text::bigint - txid_current()) & 4294967295) \
             END FROM pg_catalog.pg_locks WHERE pid = pg_backend_pid() \
             AND locktype = 'transactionid' AND mode = 'ExclusiveLock'",
        );
        Ok(())
    }
}
