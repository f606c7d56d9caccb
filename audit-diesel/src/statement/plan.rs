//! Statements that stay prepared, and are prepared anew where the database would not run them any more.
//!
//! PostgreSQL refuses a prepared statement whose results have changed their types, as after
//! `ALTER TABLE … ALTER COLUMN … TYPE`. Diesel never forgets one, but finds it by its text: a text with
//! another number in it is prepared anew.

use std::rc::Rc;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;

use crate::connection::RawConnection;
use crate::recorder::{PlanVersion, Recorder, own};

/// How a statement is prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Whether the connection may keep one more form of the model's statements prepared.
    pub(super) is_kept: bool,
    version: PlanVersion,
}

/// A statement that is prepared so. Shared, as it may have to run twice.
pub(super) struct Planned<Q> {
    query: Rc<Q>,
    plan: Plan,
}

impl Plan {
    pub(super) fn of<Q>(self, query: &Rc<Q>) -> Planned<Q> {
        Planned {
            query: Rc::clone(query),
            plan: self,
        }
    }

    fn next<M: 'static, C: RawConnection>(conn: &mut C) -> Self {
        let recorder = Recorder::of(conn);
        recorder.map_or(
            Self {
                is_kept: false,
                version: PlanVersion::default(),
            },
            |recorder| Self {
                is_kept: recorder.may_keep_prepared::<M>(),
                version: recorder.plan_version::<M>(),
            },
        )
    }

    fn run<M: 'static, C: RawConnection, T>(
        self,
        conn: &mut C,
        run: impl FnOnce(Self, &mut C) -> QueryResult<T>,
    ) -> QueryResult<T> {
        let result = own(conn, |conn| run(self, conn));
        if let Some(recorder) = Recorder::of(conn) {
            recorder.prepared_forms().count_new::<M>();
        }
        result
    }
}

impl<Q> QueryId for Planned<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Planned<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, Conn> RunQueryDsl<Conn> for Planned<Q> {}

impl<Q, DB> QueryFragment<DB> for Planned<Q>
where
    DB: Backend,
    Q: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        if self.plan.version != PlanVersion::default() {
            out.push_sql(&format!(" /* {} */", self.plan.version));
        }
        Ok(())
    }

    fn is_safe_to_cache_prepared(&self, backend: &DB) -> QueryResult<bool> {
        Ok(self.plan.is_kept && self.query.is_safe_to_cache_prepared(backend)?)
    }
}

/// Runs a statement of ours, once more where what the connection had prepared of it is out of date.
/// Nothing was written then, and no row was read.
pub(super) fn run_planned<M: 'static, C, T>(
    conn: &mut C,
    mut run: impl FnMut(Plan, &mut C) -> QueryResult<T>,
) -> QueryResult<T>
where
    C: RawConnection,
{
    let plan = Plan::next::<M, C>(conn);
    let result = plan.run::<M, _, _>(conn, &mut run);
    let is_stale = |error| plan.is_kept && C::is_stale_plan(error);
    if !result.as_ref().is_err_and(is_stale) {
        return result;
    }
    if let Some(recorder) = Recorder::of(conn) {
        recorder.plan_was_stale::<M>(plan.version);
    }
    if !conn.go_back() {
        return result;
    }
    Plan::next::<M, C>(conn).run::<M, _, _>(conn, run)
}
