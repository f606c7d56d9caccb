//! Functions that are generic over table, changeset and connection, as large applications have them,
//! and functions that return a statement by the name of its type.

use audit_diesel::audited::dsl::{self, Delete, Find, InsertInto, Update};
use audit_diesel::audited::statement::{
    AndFilter, Audited, Boxed, IncompleteInsert, InsertValues, OnConflictDoNothing, Target,
    UpdateStatement,
};
use audit_diesel::{AuditedBy, AuditedConnection, AuditedModel, audited};
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::associations::HasTable;
use diesel::dsl::auto_type;
use diesel::prelude::*;
use diesel::query_builder::{AsChangeset, IntoUpdateTarget};
use diesel::query_dsl::LoadQuery;
use diesel::query_dsl::methods::{self, ExecuteDsl};
use diesel::result::QueryResult;

use super::super::super::models::{Membership, TABLES, memberships};
use super::{Backend, Conn, app_with, new_trail, run};

/// A repository of the model on any connection: what it does stands once, for all tables.
trait Repository<C>: AuditedModel
where
    C: AuditedConnection,
    Self::Table: AuditedBy<Self>,
{
    type Key;
    type New: Insertable<Self::Table>;

    fn table() -> Self::Table;

    fn create<'query>(new: Self::New, conn: &mut C) -> QueryResult<Self>
    where
        InsertInto<Self::Table, Self, Self::New>: LoadQuery<'query, C, Self>,
    {
        audited::insert_into(Self::table())
            .values(new)
            .get_result(conn)
    }

    fn change<'query, V>(key: Self::Key, values: V, conn: &mut C) -> QueryResult<Option<Self>>
    where
        Self::Table: methods::FindDsl<Self::Key>,
        Find<Self::Table, Self::Key>: IntoUpdateTarget<Table = Self::Table>,
        V: AsChangeset<Target = Self::Table>,
        Update<Find<Self::Table, Self::Key>, Self, V>: LoadQuery<'query, C, Self>,
    {
        audited::update(methods::FindDsl::find(Self::table(), key))
            .set(values)
            .get_result(conn)
            .optional()
    }

    fn remove(key: Self::Key, conn: &mut C) -> QueryResult<bool>
    where
        Self::Table: methods::FindDsl<Self::Key>,
        Find<Self::Table, Self::Key>: IntoUpdateTarget<Table = Self::Table>,
        Delete<Find<Self::Table, Self::Key>, Self>: ExecuteDsl<C>,
    {
        let count = audited::delete(methods::FindDsl::find(Self::table(), key)).execute(conn)?;
        Ok(count == 1)
    }
}

impl<C: AuditedConnection> Repository<C> for Account {
    type Key = i32;
    type New = NewAccount<'static>;

    fn table() -> accounts::table {
        accounts::table
    }
}

impl<C: AuditedConnection> Repository<C> for Membership {
    type Key = (&'static str, i32);
    type New = Membership;

    fn table() -> memberships::table {
        memberships::table
    }
}

#[test]
fn a_repository_over_table_changeset_and_connection_is_audited() {
    let (app, pooled) = &mut app_with(&[]);
    run(pooled, TABLES);
    let ada = Account::create(NewAccount::new("ada"), pooled).unwrap();
    let conn: &mut Conn = pooled;
    let changed = Account::change(ada.id, accounts::role.eq("admin"), conn).unwrap();
    assert_eq!(changed.unwrap().role, "admin");
    assert_eq!(
        Account::change(7, accounts::role.eq("admin"), conn),
        Ok(None)
    );
    assert_eq!(Account::remove(ada.id, conn), Ok(true));
    let new = Membership {
        org: "acme".to_owned(),
        member: 1,
        role: "member".to_owned(),
    };
    Membership::create(new, conn).unwrap();
    let two = (memberships::role.eq("owner"), memberships::member.eq(2));
    Membership::change(("acme", 1), two, conn).unwrap();
    assert_eq!(Membership::remove(("acme", 2), conn), Ok(true));
    let actions: Vec<_> = new_trail(app)
        .iter()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = ["insert", "update", "delete"];
    let expected =
        ["accounts", "memberships"].map(|table| expected.map(|it| format!("{it} {table}")));
    assert_eq!(actions, expected.concat());
}

/// A change of a row that is `Identifiable` by itself.
fn save<'query, V, M, C, U>(values: V, conn: &mut C) -> QueryResult<U>
where
    C: AuditedConnection,
    V: Copy + IntoUpdateTarget<Table: AuditedBy<M>>,
    V: AsChangeset<Target = <V as HasTable>::Table>,
    M: AuditedModel<Table = <V as HasTable>::Table>,
    Update<V, M, V>: LoadQuery<'query, C, U>,
{
    audited::update(values).set(values).get_result(conn)
}

/// Only where no row of the key is there.
fn create_if_missing<V, M, C>(table: V::Table, values: V, conn: &mut C) -> QueryResult<usize>
where
    C: AuditedConnection,
    V: HasTable + Insertable<<V as HasTable>::Table>,
    V::Table: AuditedBy<M>,
    M: AuditedModel<Table = V::Table>,
    dsl::OnConflictDoNothing<InsertInto<V::Table, M, V>>: ExecuteDsl<C>,
{
    audited::insert_into(table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(conn)
}

#[test]
fn functions_over_any_changeset_or_new_row_are_audited() {
    let (app, conn) = &mut app_with(&["ada"]);
    let ada: Account = accounts::table.first(conn).unwrap();
    let richer = Account { balance: 99, ..ada };
    let saved: Account = save(&richer, conn).unwrap();
    assert_eq!(saved, richer);
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"balance":{"old":10,"new":99}}"#]
    );
    run(conn, TABLES);
    let member = || Membership {
        org: "acme".to_owned(),
        member: 1,
        role: "member".to_owned(),
    };
    let create = |conn: &mut _, row: &Membership| {
        create_if_missing(memberships::table, InsertableRow(row), conn)
    };
    assert_eq!(create(conn, &member()), Ok(1));
    assert_eq!(create(conn, &member()), Ok(0));
    assert_eq!(app.records().len(), 1);
}

/// A new row of a table that it knows.
struct InsertableRow<'a>(&'a Membership);

impl HasTable for InsertableRow<'_> {
    type Table = memberships::table;

    fn table() -> memberships::table {
        memberships::table
    }
}

impl<'a> Insertable<memberships::table> for InsertableRow<'a> {
    type Values = <&'a Membership as Insertable<memberships::table>>::Values;

    fn values(self) -> Self::Values {
        self.0.values()
    }
}

type Balance = diesel::dsl::Eq<accounts::balance, i64>;

fn named_update(id: i32, balance: i64) -> Update<Find<accounts::table, i32>, Account, Balance> {
    audited::update(accounts::table.find(id)).set(accounts::balance.eq(balance))
}

/// By the types themselves.
fn spelt_out_update<'a>() -> Audited<
    UpdateStatement<accounts::table, Boxed<'a, Backend>, <Balance as AsChangeset>::Changeset>,
    Account,
> {
    audited::update(accounts::table)
        .set(accounts::balance.eq(5))
        .into_boxed()
}

fn spelt_out_insert<'a>() -> Audited<
    OnConflictDoNothing<
        InsertValues<accounts::table, NewAccount<'a>>,
        audited::statement::AnyConflict,
    >,
    Account,
> {
    let insert: IncompleteInsert<accounts::table, Account> = audited::insert_into(accounts::table);
    insert
        .values(NewAccount::new("spelt out"))
        .on_conflict_do_nothing()
}

/// Anything that can be filtered once more.
fn and_open<W, C>(
    update: Audited<UpdateStatement<accounts::table, W, C>, Account>,
) -> Audited<UpdateStatement<accounts::table, W::Output, C>, Account>
where
    W: AndFilter<diesel::dsl::IsNull<accounts::note>>,
{
    update.filter(accounts::note.is_null())
}

#[auto_type(dsl_path = "audit_diesel::audited::dsl")]
fn auto_update(id: i32, email: &'static str) -> _ {
    let of_id = accounts::table.find(id);
    audited::update::<_, Account>(of_id)
        .set((accounts::email.eq(email), accounts::balance.eq(7_i64)))
        .filter(accounts::balance.lt(100_i64))
        .returning(accounts::email)
}

#[auto_type(dsl_path = "audit_diesel::audited::dsl")]
fn auto_delete(id: i32) -> _ {
    audited::delete::<_, Account>(accounts::table)
        .filter(accounts::id.eq(id))
        .or_filter(accounts::id.eq(id))
}

#[auto_type(dsl_path = "audit_diesel::audited::dsl")]
fn auto_insert(email: &'static str) -> _ {
    audited::insert_into::<_, Account>(accounts::table)
        .values(accounts::email.eq(email))
        .on_conflict(accounts::email)
        .do_nothing()
        .returning(accounts::id)
}

#[auto_type(dsl_path = "audit_diesel::audited::dsl")]
fn auto_copy() -> _ {
    let addresses = accounts::table.select(accounts::email.concat("+"));
    audited::insert_into::<_, Account>(accounts::table)
        .values(addresses)
        .into_columns(accounts::email)
        .on_conflict_do_nothing()
}

/// Without a word where to look, as Diesel's own names do.
#[auto_type]
fn auto_boxed<'a>() -> _ {
    audited::delete::<_, Account>(accounts::table).into_boxed::<'a, Backend>()
}

#[test]
fn statements_are_returned_by_the_names_of_their_types() {
    let (app, conn) = &mut app_with(&["ada"]);
    assert_eq!(named_update(1, 3).execute(conn), Ok(1));
    assert_eq!(and_open(named_update(1, 4)).execute(conn), Ok(1));
    assert_eq!(spelt_out_update().execute(conn), Ok(1));
    assert_eq!(spelt_out_insert().execute(conn), Ok(1));
    let email: String = auto_update(1, "eve").get_result(conn).unwrap();
    assert_eq!(email, "eve");
    let id: i32 = auto_insert("bob").get_result(conn).unwrap();
    assert_eq!(auto_copy().execute(conn), Ok(3));
    assert_eq!(auto_delete(id).execute(conn), Ok(1));
    assert_eq!(app.records().len(), 10);
    let all_but_one = auto_boxed().filter(accounts::email.ne("eve"));
    assert_eq!(all_but_one.execute(conn), Ok(4));
    assert_eq!(app.records().len(), 14);
}

/// `Target` is what a query passes to `update`.
#[expect(dead_code, reason = "it only has to compile")]
fn target_is_a_name<W>(
    update: audited::statement::IncompleteUpdate<accounts::table, Target<W>, Account>,
) -> audited::statement::IncompleteUpdate<accounts::table, Target<W>, Account> {
    update
}

/// As Diesel's: what is inserted can be copied where it could be before.
#[test]
fn an_insert_is_copied_where_its_values_are() {
    fn copied<T: Copy>(it: T) -> [T; 2] {
        [it, it]
    }
    let (app, conn) = &mut app_with(&[]);
    let new = NewAccount::new("ada");
    let ada = audited::insert_into(accounts::table).values(&new);
    let skipped = ada.on_conflict_do_nothing();
    let counts = [
        copied(ada)[1].execute(conn),
        copied(skipped)[1].execute(conn),
    ];
    assert_eq!(counts, [Ok(1), Ok(0)]);
    let partial = copied(audited::insert_into(accounts::table))[1].values(accounts::balance.eq(3));
    let by_target = partial.on_conflict(accounts::email);
    assert_eq!(copied(by_target)[1].do_nothing().execute(conn), Ok(1));
    let defaults = copied(audited::insert_into(accounts::table).default_values());
    assert!(defaults[1].execute(conn).is_err(), "the same address");
    assert_eq!(app.records().len(), 2);
    // What is not `Copy` is cloned, whether the model can be or not.
    let owned = audited::insert_into(accounts::table).values(NewAccount::new("bob"));
    assert_eq!(owned.clone().execute(conn), Ok(1));
    let update = audited::update(accounts::table).set(accounts::role.eq("admin"));
    assert_eq!(update.clone().execute(conn), Ok(3));
}
