//! Models that are more than one struct of plain fields: with structs embedded, with parameters, with
//! fields that are loaded as another type. What they cannot read hides nothing of the rest.

use audit_diesel::{Auditable, audited};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde::Serialize;

use super::{App, Conn, Pooled, app, new_trail, run};

diesel::table! {
    parcels (id) {
        id -> Integer,
        weight -> Integer,
        class -> Text,
        from_city -> Text,
        from_class -> Text,
        to_city -> Nullable<Text>,
        to_class -> Nullable<Text>,
    }
}

diesel::table! {
    letters (sender, number) {
        sender -> Text,
        number -> Integer,
        class -> Text,
        name -> Text,
    }
}

const TABLES: &str = "
    CREATE TABLE parcels (
        id integer PRIMARY KEY,
        weight integer NOT NULL DEFAULT 1,
        class text NOT NULL DEFAULT 'second',
        from_city text NOT NULL DEFAULT 'Turin',
        from_class text NOT NULL DEFAULT 'second',
        to_city text,
        to_class text
    );
    CREATE TABLE letters (
        sender text NOT NULL,
        number integer NOT NULL,
        class text NOT NULL DEFAULT 'second',
        name text NOT NULL DEFAULT 'ada',
        PRIMARY KEY (sender, number)
    );
    INSERT INTO parcels (id) VALUES (1);
    INSERT INTO letters (sender, number) VALUES ('first', 1);
";

#[derive(Debug, PartialEq, Serialize, FromSqlRow)]
enum Class {
    First,
    Second,
}

impl<DB: Backend> FromSql<Text, DB> for Class
where
    String: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match <String as FromSql<Text, DB>>::from_sql(value)?.as_str() {
            "first" => Ok(Self::First),
            "second" => Ok(Self::Second),
            _ => Err("a class that this version does not know".into()),
        }
    }
}

#[derive(Debug, Queryable, Auditable)]
#[diesel(table_name = parcels)]
#[audit(embedded)]
struct Origin {
    #[diesel(column_name = from_city)]
    city: String,
    #[diesel(column_name = from_class)]
    class: Class,
}

#[derive(Debug, Queryable, Auditable)]
#[diesel(table_name = parcels)]
#[audit(embedded)]
struct Destination<C = Class> {
    #[diesel(column_name = to_city)]
    city: Option<String>,
    #[diesel(column_name = to_class)]
    class: Option<C>,
}

/// Embeds one struct that is there and one that may be missing, and has a type to choose.
#[derive(Debug, Queryable, Auditable)]
#[diesel(table_name = parcels)]
struct Parcel<W = i32, C = Class> {
    id: i32,
    weight: W,
    class: C,
    #[diesel(embed)]
    origin: Origin,
    #[diesel(embed)]
    destination: Option<Destination>,
}

/// A name of letters alone.
#[derive(Debug, PartialEq, Serialize)]
struct Name(String);

#[derive(Debug, PartialEq)]
struct NoName;

impl std::fmt::Display for NoName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no name")
    }
}

impl std::error::Error for NoName {}

impl TryFrom<String> for Name {
    type Error = NoName;

    fn try_from(text: String) -> Result<Self, NoName> {
        match text.chars().all(char::is_alphabetic) {
            true => Ok(Self(text)),
            false => Err(NoName),
        }
    }
}

/// As [`Class`], and nothing is to be seen of it but that it is there.
#[derive(Debug, PartialEq, FromSqlRow)]
struct Sender(String);

impl Serialize for Sender {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<DB: Backend> FromSql<Text, DB> for Sender
where
    String: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match <String as FromSql<Text, DB>>::from_sql(value)? {
            text if text == "unknown" => Err("not a sender".into()),
            text => Ok(Self(text)),
        }
    }
}

#[derive(Debug, Queryable, Auditable)]
#[diesel(table_name = letters, primary_key(sender, number))]
struct Letter {
    sender: Sender,
    number: i32,
    class: Class,
    #[diesel(deserialize_as = String)]
    name: Name,
}

fn with_tables() -> (App, Pooled) {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    run(&mut conn, TABLES);
    (app, conn)
}

/// Sets what no type of the model can send, and says what the trail has of the update that follows.
fn update_parcel(app: &App, conn: &mut Conn, raw: &str) -> String {
    run(conn, &format!("UPDATE parcels SET {raw}"));
    let count = audited::update(parcels::table.find(1))
        .set((
            parcels::weight.eq(parcels::weight + 1),
            parcels::class.eq("first"),
            parcels::from_class.eq("first"),
            parcels::to_class.eq(Some("first")),
        ))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let trail = new_trail(app);
    assert_eq!(trail.len(), 1, "{trail:?}");
    let changes = trail[0].strip_prefix("update parcels 1 ");
    changes.unwrap_or_else(|| panic!("{trail:?}")).to_owned()
}

#[test]
fn a_part_of_an_embedded_struct_that_cannot_be_read_is_recorded_as_text_beside_the_rest() {
    let (app, conn) = &mut with_tables();
    assert_eq!(
        update_parcel(app, conn, "from_class = 'air', to_class = 'rail'"),
        r#"{"weight":{"old":1,"new":2},"class":{"old":"Second","new":"First"},"from_class":{"old":"air","new":"First","unreadable":["old"]},"to_class":{"old":"rail","new":"First","unreadable":["old"]}}"#
    );
    assert_eq!(
        update_parcel(
            app,
            conn,
            "class = 'first', from_class = 'first', to_class = NULL"
        ),
        r#"{"weight":{"old":2,"new":3},"to_class":{"old":null,"new":"First"}}"#
    );
}

#[test]
fn an_inserted_row_names_what_its_embedded_structs_cannot_read() {
    let (app, conn) = &mut with_tables();
    let count = audited::insert_into(parcels::table)
        .values((
            parcels::id.eq(2),
            parcels::from_class.eq("air"),
            parcels::to_class.eq("rail"),
        ))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [
            r#"insert parcels 2 {"id":{"new":2},"weight":{"new":1},"class":{"new":"Second"},"from_city":{"new":"Turin"},"from_class":{"new":"air","unreadable":["new"]},"to_city":{"new":null},"to_class":{"new":"rail","unreadable":["new"]}}"#
        ]
    );
}

#[test]
fn a_parameter_of_a_model_that_cannot_read_its_column_hides_no_other_field() {
    let (app, conn) = &mut with_tables();
    assert_eq!(
        update_parcel(
            app,
            conn,
            "class = 'air', from_class = 'first', to_class = 'first'"
        ),
        r#"{"weight":{"old":1,"new":2},"class":{"old":"air","new":"First","unreadable":["old"]}}"#
    );
}

fn update_letter(app: &App, conn: &mut Conn, name: &str) -> Vec<String> {
    let count = audited::update(letters::table)
        .set(letters::name.eq(name))
        .execute(conn);
    assert_eq!(count, Ok(1));
    new_trail(app)
}

/// The type that refuses the value is the field's own, which may hide what it holds: no text is shown.
#[test]
fn a_value_that_deserialize_as_cannot_convert_is_marked_beside_the_rest() {
    let (app, conn) = &mut with_tables();
    assert_eq!(
        update_letter(app, conn, "grace"),
        [r#"update letters ["***",1] {"name":{"old":"ada","new":"grace"}}"#]
    );
    assert_eq!(
        update_letter(app, conn, "R2D2"),
        [r#"update letters ["***",1] {"name":{"old":"grace","unreadable":["new"]}}"#]
    );
}

#[test]
fn a_part_of_a_key_without_a_text_is_null_in_the_id_and_the_other_part_names_the_row() {
    let (app, conn) = &mut with_tables();
    run(conn, "UPDATE letters SET sender = 'unknown'");
    assert_eq!(
        update_letter(app, conn, "grace"),
        [r#"update letters [null,1] {"name":{"old":"ada","new":"grace"}}"#]
    );
    let gone = audited::delete(letters::table).execute(conn);
    assert_eq!(gone, Ok(1));
    assert_eq!(
        new_trail(app),
        [
            r#"delete letters [null,1] {"sender":{"unreadable":["old"]},"number":{"old":1},"class":{"old":"Second"},"name":{"old":"grace"}}"#
        ]
    );
}

/// Serde shows `***` of it, so its text is not shown for being unreadable either.
#[test]
fn a_type_that_hides_its_text_from_serde_is_not_shown_for_being_unreadable() {
    let (app, conn) = &mut with_tables();
    let count = audited::update(letters::table)
        .set((letters::sender.eq("unknown"), letters::class.eq("air")))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [
            r#"update letters ["***",1] {"sender":{"old":"***","unreadable":["new"]},"class":{"old":"Second","new":"air","unreadable":["new"]}}"#
        ]
    );
}
