//! What `diesel::debug_query` shows of an audited statement.

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryBuilder, QueryFragment};
use diesel::result::QueryResult;

use super::Audited;
use crate::auditor::AuditedBackend;
use crate::connection::RawConnection;

/// An audited statement's SQL, for [`diesel::debug_query`].
///
/// It shows the statement as the database gets it: on PostgreSQL an update with the select of the old
/// rows in it, and everywhere the columns of the model behind RETURNING. Without `returning` it is
/// what `execute` runs; an update on PostgreSQL is shown as for a table with a primary key. On SQLite an update also runs a select of the old rows before, with the same
/// WHERE, and an insert of several rows may be several statements. An insert is shown where its
/// values are `Clone`, as references are.
///
/// Bound values are never shown, as a value that is written to a redacted field, or compared with one,
/// looks like any other. So there are placeholders without values, and Diesel's list of binds is
/// empty:
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// use diesel::debug_query;
/// use diesel::sqlite::Sqlite;
///
/// # pub fn main() {
/// let update = audited::update(accounts::table.find(7)).set(accounts::api_token.eq("s3cret"));
/// let shown = debug_query::<Sqlite, _>(&update).to_string();
/// assert!(shown.starts_with("UPDATE `accounts` SET `api_token` = ? WHERE (`accounts`.`id` = ?)"));
/// assert!(shown.ends_with("-- binds: []"));
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main();
/// ```
pub trait ShowSql<DB: Backend, M> {
    /// The statement that records changes of `M`, and returns `extra` beside the model's columns.
    ///
    /// # Errors
    ///
    /// Diesel's, for a statement that cannot be written, such as an update that sets nothing.
    fn show(&self, extra: &dyn QueryFragment<DB>) -> QueryResult<String>;
}

impl<S, M, R, DB> QueryFragment<DB> for Audited<S, M, R>
where
    DB: Backend,
    S: ShowSql<DB, M>,
    R: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(&self.statement.show(&self.returning)?);
        Ok(())
    }
}

/// A backend whose statements are shown, and its connection.
pub trait ShownBackend: AuditedBackend<QueryBuilder: Default> + Default {
    /// Diesel's own connection to it.
    type Connection: RawConnection<Backend = Self>;
}

#[cfg(feature = "postgres")]
impl ShownBackend for diesel::pg::Pg {
    type Connection = diesel::PgConnection;
}

#[cfg(feature = "sqlite")]
impl ShownBackend for diesel::sqlite::Sqlite {
    type Connection = diesel::SqliteConnection;
}

/// The SQL of a fragment, without its bound values.
pub(super) fn rendered<DB>(fragment: &dyn QueryFragment<DB>) -> QueryResult<String>
where
    DB: Backend + Default,
    DB::QueryBuilder: Default,
{
    let mut sql = DB::QueryBuilder::default();
    fragment.to_sql(&mut sql, &DB::default())?;
    Ok(sql.finish())
}
