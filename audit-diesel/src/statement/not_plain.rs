//! What the compiler says where an audited statement is handed to what runs plain queries: it would go
//! unrecorded. Without this it would list the hundreds of types that are queries.

use std::marker::PhantomData;

use diesel::query_builder::{Query, QueryId};

use super::Audited;

/// What a plain query is, and no audited statement.
#[diagnostic::on_unimplemented(
    message = "audited statements run on Diesel's own connections, and not on those of diesel_async yet: use \
               a `PgConnection` or a `SqliteConnection`, in `spawn_blocking` or `interact`",
    label = "an audited statement does not run here",
    note = "an audited statement is no query that another one can be made of, either: it is run by `execute`, \
            `get_result`, `get_results` or `load` of `diesel::RunQueryDsl`"
)]
pub trait PlainQuery {
    /// What its rows are.
    type SqlType;
}

/// Stands for the statement, as the compiler tells what is missing only on another type than the one that
/// it was asked about.
pub struct AuditedStatement<S>(PhantomData<S>);

impl<S, M, R> QueryId for Audited<S, M, R>
where
    AuditedStatement<S>: PlainQuery,
{
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S, M, R> Query for Audited<S, M, R>
where
    AuditedStatement<S>: PlainQuery,
{
    type SqlType = <AuditedStatement<S> as PlainQuery>::SqlType;
}
