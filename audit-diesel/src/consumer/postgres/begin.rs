//! What a storing transaction begins with, in one statement that stays prepared.

use ::uuid::Uuid;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Bool};

use crate::postgres::HAS_DECLARED_TYPES;

/// Bounds the transaction that it runs in, where nobody has set bounds, so that the lock of a consumer
/// that vanishes is free after half a minute: what the server sees of it is a session that is idle,
/// or that does not answer. No statement's time is bounded, as that would be COMMIT's as well, and
/// with it the wait for a synchronous standby.
const BOUND_ITSELF: &str = "(
    SELECT count(set_config(name, value, true))
    FROM (VALUES ('idle_in_transaction_session_timeout', '20s', '[1-9].*'),
                 ('lock_timeout', '30s', '[1-9].*'),
                 ('tcp_keepalives_idle', '10', '[1-9][0-9]?'),
                 ('tcp_keepalives_interval', '5', '[1-9]'),
                 ('tcp_keepalives_count', '3', '[1-4]')) AS bound (name, value, is_bounded)
    WHERE current_setting(name, true) !~ ('^' || is_bounded || '$'))";

/// Bounds the transaction, takes the lock, and looks at the table and at two records.
#[derive(Debug)]
pub(super) struct BeginStoring {
    pub(super) lock: i64,
    pub(super) records: Option<[Uuid; 2]>,
}

impl QueryId for BeginStoring {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for BeginStoring {
    /// How many bounds were set; whether it has the lock; whether the table's columns have the types
    /// that they should have; whether one of the records is stored.
    type SqlType = (BigInt, Bool, Bool, Bool);
}

impl<Conn> RunQueryDsl<Conn> for BeginStoring {}

impl QueryFragment<Pg> for BeginStoring {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(BOUND_ITSELF);
        out.push_sql(", pg_try_advisory_xact_lock(");
        out.push_bind_param::<BigInt, _>(&self.lock)?;
        out.push_sql("), ");
        out.push_sql(HAS_DECLARED_TYPES);
        out.push_sql(", false");
        // Each by itself, so that the plan does not depend on the table's size.
        for id in self.records.iter().flatten() {
            out.push_sql(" OR EXISTS (SELECT FROM audit_logs WHERE id = ");
            out.push_bind_param::<diesel::sql_types::Uuid, _>(id)?;
            out.push_sql(")");
        }
        Ok(())
    }
}
