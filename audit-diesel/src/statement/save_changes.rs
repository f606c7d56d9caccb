//! `audited_save_changes`, beside Diesel's `save_changes`.

use diesel::associations::HasTable;
use diesel::query_builder::{AsChangeset, IntoUpdateTarget};
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::QueryResult;

use super::update::update;
use super::where_clause::Target;
use super::{Audited, UpdateStatement};
use crate::model::{AuditedBy, AuditedModel};

type Save<T, M> = Audited<
    UpdateStatement<
        <T as HasTable>::Table,
        Target<<T as IntoUpdateTarget>::WhereClause>,
        <T as AsChangeset>::Changeset,
    >,
    M,
>;

/// Saves a struct that is both `Identifiable` and `AsChangeset`, and records the change.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// use audit_diesel::AuditedSaveChangesDsl;
///
/// #[derive(Identifiable, AsChangeset)]
/// #[diesel(table_name = accounts)]
/// struct Deposit {
///     id: i32,
///     balance: i64,
/// }
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// # audited::insert_into(accounts::table).values(accounts::email.eq("ada@example.com")).execute(conn)?;
/// let saved: Account = (&Deposit { id: 1, balance: 5 }).audited_save_changes(conn)?;
/// assert_eq!(saved.balance, 5);
/// # assert_eq!(queue.records()?.len(), 2);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
pub trait AuditedSaveChangesDsl<Conn, M>: Copy + IntoUpdateTarget {
    /// `audited::update(self).set(self).get_result(conn)`.
    ///
    /// # Errors
    ///
    /// Diesel's, and those of an audited statement.
    fn audited_save_changes<'query, U>(self, conn: &mut Conn) -> QueryResult<U>
    where
        Self: AsChangeset<Target = <Self as HasTable>::Table>,
        Self::Table: AuditedBy<M>,
        M: AuditedModel<Table = Self::Table>,
        Save<Self, M>: LoadQuery<'query, Conn, U>,
    {
        update(self).set(self).get_result(conn)
    }
}

impl<T, Conn, M> AuditedSaveChangesDsl<Conn, M> for T
where
    T: Copy + IntoUpdateTarget,
    T::Table: AuditedBy<M>,
    M: AuditedModel<Table = T::Table>,
{
}
