//! The types of audited statements, named as Diesel names its own in `diesel::dsl`: functions in small
//! letters, methods in camel case, each with what it is called on and with. All else of `diesel::dsl`
//! is here too.
//!
//! The model is a parameter of the functions. The compiler finds it when a function is called; a type
//! that stands for itself has to name it.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! # include!("../../docs/accounts.rs");
//! use audit_diesel::audited::dsl::{Eq, Find, Set, update};
//!
//! type Credit = Set<update<Find<accounts::table, i32>, Account>, Eq<accounts::balance, i64>>;
//!
//! fn credit(id: i32, balance: i64) -> Credit {
//!     audited::update(accounts::table.find(id)).set(accounts::balance.eq(balance))
//! }
//! # pub fn main() {
//! #     let _ = credit(1, 2);
//! # }
//! # }
//! # #[cfg(feature = "sqlite")]
//! # example::main();
//! ```
//!
//! Diesel's `auto_type` writes such a type by itself, where it is told to look here and which model is
//! meant:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! # include!("../../docs/accounts.rs");
//! #[diesel::dsl::auto_type(dsl_path = "audit_diesel::audited::dsl")]
//! fn credit(id: i32, balance: i64) -> _ {
//!     audited::update::<_, Account>(accounts::table.find(id)).set(accounts::balance.eq(balance))
//! }
//! # pub fn main() {
//! #     let _ = credit(1, 2);
//! # }
//! # }
//! # #[cfg(feature = "sqlite")]
//! # example::main();
//! ```
//!
//! A function over any table asks for what it calls:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! # include!("../../docs/accounts.rs");
//! use audit_diesel::audited::dsl::Update;
//! use audit_diesel::{AuditedBy, AuditedConnection, AuditedModel};
//! use diesel::associations::HasTable;
//! use diesel::query_builder::{AsChangeset, IntoUpdateTarget};
//! use diesel::query_dsl::methods::ExecuteDsl;
//! use diesel::result::QueryResult;
//!
//! /// Changes what `target` names, be it a query or a row.
//! fn change<T, V, M, C>(target: T, values: V, conn: &mut C) -> QueryResult<usize>
//! where
//!     C: AuditedConnection,
//!     M: AuditedModel<Table = T::Table>,
//!     T: IntoUpdateTarget<Table: AuditedBy<M>>,
//!     V: AsChangeset<Target = T::Table>,
//!     Update<T, M, V>: ExecuteDsl<C>,
//! {
//!     audited::update(target).set(values).execute(conn)
//! }
//! # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_, mut conn) = accounts_in_memory()?;
//! # let conn = &mut conn;
//!
//! change(accounts::table.find(7), accounts::balance.eq(3), conn)?;
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "sqlite")]
//! # example::main().unwrap();
//! ```

#![allow(
    non_camel_case_types,
    reason = "`auto_type` looks for the types of functions under the functions' names"
)]

mod parts;

pub use diesel::dsl::*;
// By name, so that they are never Diesel's functions of the same names.
pub use super::delete::delete;
#[cfg(feature = "sqlite")]
pub use super::insert::insert_or_ignore_into;
pub use super::insert::{insert_into, replace_into};
pub use super::update::update;
pub use parts::{InsertParts, OnConflictParts, StatementParts, UpdateParts, ValuesParts};

use diesel::associations::HasTable;
use diesel::query_builder::{AsChangeset, AsQuery, DeleteStatement, IntoUpdateTarget};

use super::{
    AnyConflict, Audited, ConflictTarget, FilteredTarget, IncompleteInsert, IncompleteOnConflict,
    IncompleteUpdate, InsertDefaults, InsertFromSelect, InsertOrIgnore, InsertValues, Target,
    UpdateStatement, insert, returning,
};

/// The type of [`audited::update(target)`](crate::audited::update()) for the model `M`.
pub type update<T, M> =
    IncompleteUpdate<<T as HasTable>::Table, Target<<T as IntoUpdateTarget>::WhereClause>, M>;

/// The type of [`audited::delete(target)`](crate::audited::delete()) for the model `M`.
pub type delete<T, M> =
    Audited<DeleteStatement<<T as HasTable>::Table, <T as IntoUpdateTarget>::WhereClause>, M>;

/// The type of [`audited::insert_into(table)`](crate::audited::insert_into()) for the model `M`.
pub type insert_into<T, M> = IncompleteInsert<T, M>;

/// The type of `audited::insert_or_ignore_into(table)` for the model `M`.
pub type insert_or_ignore_into<T, M> = IncompleteInsert<T, M, InsertOrIgnore>;

/// The type of `audited::update(target).set(values)` for the model `M`.
pub type Update<T, M, V> = Set<update<T, M>, V>;

/// The type of `audited::delete(target)` for the model `M`.
pub type Delete<T, M> = delete<T, M>;

/// The type of `audited::insert_into(table).values(values)` for the model `M`.
pub type InsertInto<T, M, V> = Values<insert_into<T, M>, V>;

/// The type of `update.set(values)`.
pub type Set<U, V> = Audited<
    UpdateStatement<
        <U as UpdateParts>::Table,
        <U as UpdateParts>::Where,
        <V as AsChangeset>::Changeset,
    >,
    <U as UpdateParts>::Model,
>;

/// The type of `insert.values(values)`.
pub type Values<I, V> = Audited<
    InsertValues<<I as InsertParts>::Table, V, <I as InsertParts>::Operator>,
    <I as InsertParts>::Model,
>;

/// The type of `insert.default_values()`.
pub type DefaultValues<I> = Audited<
    InsertDefaults<<I as InsertParts>::Table, <I as InsertParts>::Operator>,
    <I as InsertParts>::Model,
>;

/// The type of `insert.into_columns(columns)`.
pub type IntoColumns<I, C> = Audited<
    InsertFromSelect<
        <StatementOf<I> as ValuesParts>::Table,
        <<StatementOf<I> as ValuesParts>::Values as AsQuery>::Query,
        C,
        <StatementOf<I> as ValuesParts>::Operator,
    >,
    <I as StatementParts>::Model,
    <I as StatementParts>::Returning,
>;

type StatementOf<I> = <I as StatementParts>::Statement;

/// The type of `insert.on_conflict_do_nothing()`.
pub type OnConflictDoNothing<I> = Audited<
    insert::OnConflictDoNothing<StatementOf<I>, AnyConflict>,
    <I as StatementParts>::Model,
    <I as StatementParts>::Returning,
>;

/// The type of `insert.on_conflict(columns)`.
pub type OnConflict<I, C> = IncompleteOnConflict<
    StatementOf<I>,
    <I as StatementParts>::Model,
    <I as StatementParts>::Returning,
    ConflictTarget<C>,
>;

/// The type of `insert.on_conflict(columns).filter_target(predicate)`.
pub type FilterTarget<I, P> = IncompleteOnConflict<
    <I as OnConflictParts>::Statement,
    <I as OnConflictParts>::Model,
    <I as OnConflictParts>::Returning,
    FilteredTarget<<I as OnConflictParts>::Target, P>,
>;

/// The type of `insert.on_conflict(columns).do_nothing()`.
pub type DoNothing<I> = Audited<
    insert::OnConflictDoNothing<<I as OnConflictParts>::Statement, <I as OnConflictParts>::Target>,
    <I as OnConflictParts>::Model,
    <I as OnConflictParts>::Returning,
>;

/// The type of `statement.returning(expression)`.
pub type Returning<S, E> =
    Audited<StatementOf<S>, <S as StatementParts>::Model, returning::Returning<E>>;
