//! Values that PostgreSQL has and a model's types do not: each is recorded as far as it can be told,
//! and its record names the row.

use std::io::Write;

use audit_diesel::{AuditError, Auditable, audited};
use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, Numeric, SqlType, Text};
use serde::Serialize;
use serde_json::Value;

use super::cases::{Pooled, new_trail, run, sorted_trail};
use super::{App, Conn, app};

#[derive(Debug, SqlType)]
#[diesel(postgres_type(name = "plan"))]
pub struct PlanSql;

diesel::table! {
    use diesel::sql_types::*;
    use super::PlanSql;

    tenants (id) {
        id -> Integer,
        plan -> PlanSql,
        seen -> Timestamptz,
        since -> Date,
        local -> Timestamp,
        credit -> Numeric,
        salary -> Numeric,
        bonus -> Numeric,
        rate -> Double,
        settings -> Jsonb,
        raw -> Json,
        label -> Text,
        bytes -> Binary,
        token -> PlanSql,
        hidden -> PlanSql,
        upper -> Text,
        avatar -> Binary,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, FromSqlRow, AsExpression)]
#[diesel(sql_type = PlanSql)]
enum Plan {
    Free,
    Paid,
}

impl FromSql<PlanSql, Pg> for Plan {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"free" => Ok(Self::Free),
            b"paid" => Ok(Self::Paid),
            _ => Err("a plan that this version does not know".into()),
        }
    }
}

impl ToSql<PlanSql, Pg> for Plan {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(match self {
            Self::Free => b"free",
            Self::Paid => b"paid",
        })?;
        Ok(IsNull::No)
    }
}

/// Text whose bytes are in a column of bytes.
#[derive(Debug, Clone, PartialEq, Serialize, FromSqlRow)]
struct TextInBytes(String);

impl FromSql<Binary, Pg> for TextInBytes {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(String::from_utf8(value.as_bytes().to_vec())?))
    }
}

/// Compares and is recorded without case.
#[derive(Debug, Clone, Serialize, FromSqlRow)]
struct CaseInsensitive(String);

impl PartialEq for CaseInsensitive {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl FromSql<Text, Pg> for CaseInsensitive {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(Self(text.to_lowercase()))
    }
}

/// A number that is read with fewer digits than the database has.
#[derive(Debug, Clone, PartialEq, Serialize, FromSqlRow)]
struct Rounded(f64);

impl FromSql<Numeric, Pg> for Rounded {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let exact = <BigDecimal as FromSql<Numeric, Pg>>::from_sql(value)?;
        Ok(Self(exact.to_string().parse()?))
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = tenants)]
struct Tenant {
    id: i32,
    plan: Plan,
    seen: DateTime<Utc>,
    since: NaiveDate,
    local: NaiveDateTime,
    credit: Rounded,
    #[audit(with = "in_thousands")]
    salary: Rounded,
    bonus: Undisclosed,
    rate: f64,
    settings: Value,
    raw: Value,
    label: CaseInsensitive,
    bytes: TextInBytes,
    #[audit(redact)]
    token: Plan,
    #[audit(with = "without_value")]
    hidden: Plan,
    #[audit(display)]
    upper: String,
    #[audit(skip)]
    #[allow(dead_code)]
    avatar: Vec<u8>,
}

/// Of a number nothing is told but that it is there.
#[derive(Debug, Clone, PartialEq, FromSqlRow)]
struct Undisclosed(Rounded);

impl FromSql<Numeric, Pg> for Undisclosed {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Rounded::from_sql(value).map(Self)
    }
}

impl Serialize for Undisclosed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(0)
    }
}

fn in_thousands(salary: &Rounded) -> f64 {
    (salary.0 / 1000.0).floor() * 1000.0
}

fn without_value(_: &Plan) -> &'static str {
    "a plan"
}

const TABLE: &str = r#"
    CREATE TYPE plan AS ENUM ('free', 'paid', 'archived', 'trial "x"');
    CREATE TABLE tenants (
        id integer PRIMARY KEY,
        plan plan NOT NULL DEFAULT 'free',
        seen timestamptz NOT NULL DEFAULT '2026-01-01T00:00:00Z',
        since date NOT NULL DEFAULT '2026-01-01',
        "local" timestamp NOT NULL DEFAULT '2026-01-01',
        credit numeric NOT NULL DEFAULT 1,
        salary numeric NOT NULL DEFAULT 1000,
        bonus numeric NOT NULL DEFAULT 1000,
        rate double precision NOT NULL DEFAULT 1,
        settings jsonb NOT NULL DEFAULT '{}',
        raw json NOT NULL DEFAULT '{}',
        label text NOT NULL DEFAULT '',
        bytes bytea NOT NULL DEFAULT '',
        token plan NOT NULL DEFAULT 'free',
        hidden plan NOT NULL DEFAULT 'free',
        upper text NOT NULL DEFAULT '',
        avatar bytea NOT NULL DEFAULT ''
    );
    INSERT INTO tenants (id) VALUES (1), (2);
"#;

fn tenants() -> (App, Pooled) {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    run(&mut conn, TABLE);
    (app, conn)
}

/// Updates tenant 1 to what the types of the model could not send, and says what the trail has of it.
fn change(app: &App, conn: &mut Conn, assignments: &str) -> String {
    run(
        conn,
        &format!(
            "CREATE OR REPLACE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN {assignments}; RETURN NEW; END $$;
             DROP TRIGGER IF EXISTS change ON tenants;
             CREATE TRIGGER change BEFORE UPDATE ON tenants
                 FOR EACH ROW EXECUTE FUNCTION change();"
        ),
    );
    let count = audited::update(tenants::table.find(1))
        .set(tenants::id.eq(1))
        .execute(conn);
    assert_eq!(count, Ok(1));
    run(conn, "DROP TRIGGER change ON tenants");
    let trail = new_trail(app);
    assert_eq!(trail.len(), 1, "{trail:?}");
    let changes = trail[0].strip_prefix("update tenants 1 ");
    changes.unwrap_or_else(|| panic!("{trail:?}")).to_owned()
}

#[test]
fn an_unknown_label_of_an_enum_is_recorded_as_the_databases_text() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "NEW.plan := 'archived'; NEW.upper := 'A'"),
        r#"{"plan":{"old":"Free","new":"archived","unreadable":["new"]},"upper":{"old":"","new":"A"}}"#
    );
    assert_eq!(
        change(app, conn, "NEW.plan := 'trial \"x\"'"),
        r#"{"plan":{"old":"archived","new":"trial \"x\"","unreadable":["old","new"]}}"#
    );
    // One that stays is no change, and hides no other.
    assert_eq!(
        change(app, conn, "NEW.upper := 'B'"),
        r#"{"upper":{"old":"A","new":"B"}}"#
    );
    assert_eq!(
        change(app, conn, "NEW.plan := 'paid'"),
        r#"{"plan":{"old":"trial \"x\"","new":"Paid","unreadable":["old"]}}"#
    );
}

#[test]
fn a_new_row_and_a_deleted_one_are_recorded_though_a_label_is_unknown() {
    let (app, conn) = &mut tenants();
    run(
        conn,
        "ALTER TABLE tenants ALTER plan SET DEFAULT 'archived'",
    );
    let count = audited::insert_into(tenants::table)
        .values(tenants::id.eq(3))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let gone = audited::delete(tenants::table.find(3)).execute(conn);
    assert_eq!(gone, Ok(1));
    let [inserted, deleted] = &new_trail(app)[..] else {
        panic!("two records")
    };
    let plan = r#""plan":{"new":"archived","unreadable":["new"]}"#;
    assert!(
        inserted.starts_with("insert tenants 3 {\"id\":{\"new\":3},"),
        "{inserted}"
    );
    assert!(inserted.contains(plan), "{inserted}");
    assert!(
        inserted.contains(r#""token":{"redacted":true}"#),
        "{inserted}"
    );
    assert!(
        deleted.starts_with("delete tenants 3 {\"id\":{\"old\":3},"),
        "{deleted}"
    );
    assert!(deleted.contains(&plan.replace("new", "old")), "{deleted}");
}

#[test]
fn infinite_times_and_years_out_of_range_are_recorded_as_text() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(
            app,
            conn,
            "NEW.seen := 'infinity'; NEW.since := '-infinity'; NEW.local := 'infinity'"
        ),
        r#"{"seen":{"old":"2026-01-01T00:00:00Z","new":"infinity","unreadable":["new"]},"since":{"old":"2026-01-01","new":"-infinity","unreadable":["new"]},"local":{"old":"2026-01-01T00:00:00","new":"infinity","unreadable":["new"]}}"#
    );
    assert_eq!(
        change(
            app,
            conn,
            "NEW.seen := '294275-06-07 08:09:10.5+00'; NEW.since := '5874897-12-31'; NEW.local := '2026-02-01'"
        ),
        r#"{"seen":{"old":"infinity","new":"294275-06-07 08:09:10.5+00","unreadable":["old","new"]},"since":{"old":"-infinity","new":"5874897-12-31","unreadable":["old","new"]},"local":{"old":"infinity","new":"2026-02-01T00:00:00","unreadable":["old"]}}"#
    );
}

#[test]
fn numbers_that_a_type_cannot_hold_are_recorded_as_text() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "NEW.credit := 'NaN'; NEW.rate := 'NaN'"),
        r#"{"credit":{"old":1.0,"new":"NaN","unreadable":["new"]},"rate":{"old":1.0,"new":"NaN"}}"#
    );
    assert_eq!(
        change(
            app,
            conn,
            "NEW.credit := -12345.60; NEW.rate := '-Infinity'"
        ),
        r#"{"credit":{"old":"NaN","new":-12345.6,"unreadable":["old"]},"rate":{"old":"NaN","new":"-Infinity"}}"#
    );
}

#[test]
fn a_change_beyond_the_digits_of_a_type_is_recorded_with_all_digits() {
    let (app, conn) = &mut tenants();
    change(
        app,
        conn,
        "NEW.credit := 0.1000000000000000000001; NEW.settings := '{\"n\": 12345678901234567890.25}'",
    );
    assert_eq!(
        change(
            app,
            conn,
            "NEW.credit := 0.1000000000000000000002; NEW.settings := '{\"n\": 12345678901234567890.5}'"
        ),
        r#"{"credit":{"old":0.1000000000000000000001,"new":0.1000000000000000000002},"settings":{"old":{"n": 12345678901234567890.25},"new":{"n": 12345678901234567890.5}}}"#
    );
    // serde_json has no number at all of it.
    let beyond = format!("NEW.settings := '{{\"n\": 1{}}}'", "0".repeat(400));
    let changes = change(app, conn, &beyond);
    assert!(changes.contains(&format!(
        r#""new":{{"n": 1{}}},"unreadable":["new"]"#,
        "0".repeat(400)
    )));
}

#[test]
fn a_change_that_the_models_type_does_not_tell_is_recorded_and_marked() {
    let (app, conn) = &mut tenants();
    change(
        app,
        conn,
        "NEW.label := 'Ada'; NEW.raw := '{\"a\":1}'; NEW.rate := 0.0",
    );
    assert_eq!(
        change(
            app,
            conn,
            "NEW.label := 'ADA'; NEW.raw := '{\"a\" : 1}'; NEW.rate := '-0'"
        ),
        r#"{"rate":{"old":0.0,"new":-0.0},"raw":{"old":{"a":1},"new":{"a" : 1}},"label":{"old":"ada","new":"ada","indistinct":true}}"#
    );
}

/// The form that the author chose, or the type for serde, stands for more than one number on purpose.
#[test]
fn a_number_that_is_recorded_in_a_form_of_its_own_is_not_shown_in_all_digits() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "NEW.salary := 1234.56; NEW.bonus := 42.5"),
        r#"{"salary":{"old":1000.0,"new":1000.0,"indistinct":true},"bonus":{"old":0,"new":0,"indistinct":true}}"#
    );
    assert_eq!(
        change(app, conn, "NEW.salary := 'NaN'"),
        r#"{"salary":{"old":1000.0,"unreadable":["new"]}}"#
    );
}

#[test]
fn bytes_that_are_no_text_are_marked_and_not_shown() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, r"NEW.bytes := '\xff00'; NEW.upper := 'A'"),
        r#"{"bytes":{"old":"","unreadable":["new"]},"upper":{"old":"","new":"A"}}"#
    );
    assert_eq!(
        change(app, conn, r"NEW.bytes := '\xff01'"),
        r#"{"bytes":{"unreadable":["old","new"]}}"#
    );
}

#[test]
fn a_value_that_the_author_has_hidden_is_not_shown_for_being_unreadable() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(
            app,
            conn,
            "NEW.token := 'archived'; NEW.hidden := 'archived'"
        ),
        r#"{"token":{"redacted":true},"hidden":{"old":"a plan","unreadable":["new"]}}"#
    );
    assert_eq!(
        change(
            app,
            conn,
            "NEW.token := 'trial \"x\"'; NEW.hidden := 'free'"
        ),
        r#"{"token":{"redacted":true},"hidden":{"new":"a plan","unreadable":["old"]}}"#
    );
}

#[test]
fn a_skipped_column_is_neither_selected_nor_compared() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, r"NEW.avatar := '\x01'; NEW.upper := 'A'"),
        r#"{"upper":{"old":"","new":"A"}}"#
    );
    let statement = "SELECT string_agg(statement, ' ') AS texts FROM pg_prepared_statements";
    #[derive(QueryableByName)]
    struct Texts {
        #[diesel(sql_type = Text)]
        texts: String,
    }
    let Texts { texts } = diesel::sql_query(statement).get_result(conn).unwrap();
    assert!(texts.contains("\"audit old\""), "{texts}");
    assert!(!texts.contains("avatar"), "{texts}");
}

#[test]
fn one_unreadable_row_of_a_thousand_hides_none() {
    let (app, conn) = &mut tenants();
    run(
        conn,
        "INSERT INTO tenants (id) SELECT generate_series(3, 1000);
         UPDATE tenants SET plan = 'archived' WHERE id = 500;",
    );
    let count = audited::update(tenants::table)
        .set(tenants::plan.eq(Plan::Paid))
        .execute(conn);
    assert_eq!(count, Ok(1000));
    let trail = sorted_trail(app);
    assert_eq!(trail.len(), 1000);
    let odd: Vec<_> = trail
        .iter()
        .filter(|line| !line.ends_with(r#" {"plan":{"old":"Free","new":"Paid"}}"#))
        .collect();
    assert_eq!(
        odd,
        [r#"update tenants 500 {"plan":{"old":"archived","new":"Paid","unreadable":["old"]}}"#]
    );
}

diesel::table! {
    use diesel::sql_types::*;
    use super::PlanSql;

    seats (plan, place) {
        plan -> PlanSql,
        place -> Integer,
        holder -> Text,
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = seats, primary_key(place, plan))]
struct Seat {
    plan: Plan,
    place: i32,
    holder: String,
}

const SEATS: &str = "
    CREATE TABLE seats (plan plan, place integer, holder text NOT NULL, PRIMARY KEY (plan, place));
    INSERT INTO seats VALUES ('archived', 1, ''), ('free', 1, '');
";

#[test]
fn a_key_with_a_label_that_is_unknown_names_the_row_by_its_text() {
    let (app, conn) = &mut tenants();
    run(conn, SEATS);
    let count = audited::update(seats::table)
        .set(seats::holder.eq("ada"))
        .execute(conn);
    assert_eq!(count, Ok(2));
    assert_eq!(
        sorted_trail(app),
        [
            r#"update seats [1,"Free"] {"holder":{"old":"","new":"ada"}}"#,
            r#"update seats [1,"archived"] {"holder":{"old":"","new":"ada"}}"#,
        ]
    );
}

diesel::table! {
    people (id) {
        id -> Integer,
        name -> Text,
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = people)]
struct Person {
    id: i32,
    name: String,
}

/// A view whose triggers make the change, and return the row without its id.
const PEOPLE: &str = "
    CREATE TABLE all_people (id integer PRIMARY KEY, name text NOT NULL);
    INSERT INTO all_people VALUES (1, 'ada');
    CREATE VIEW people AS SELECT id, name FROM all_people;
    CREATE FUNCTION write_person() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN INSERT INTO all_people VALUES (NEW.id, NEW.name); END IF;
        IF TG_OP = 'UPDATE' THEN UPDATE all_people SET name = NEW.name WHERE id = OLD.id; END IF;
        NEW.id := NULL;
        RETURN NEW;
    END $$;
    CREATE TRIGGER write_person INSTEAD OF INSERT OR UPDATE ON people
        FOR EACH ROW EXECUTE FUNCTION write_person();
";

#[test]
fn a_row_that_a_trigger_returns_without_its_id_is_recorded_as_far_as_it_is_known() {
    let (app, conn) = &mut tenants();
    run(conn, PEOPLE);
    let count = audited::insert_into(people::table)
        .values((people::id.eq(2), people::name.eq("grace")))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [r#"insert people - {"id":{"new":null},"name":{"new":"grace"}}"#]
    );
    // Which of its rows an update was on nothing says.
    let refused = audited::update(people::table.find(1))
        .set(people::name.eq("eve"))
        .execute(conn)
        .unwrap_err();
    assert!(
        matches!(
            AuditError::of(&refused),
            Some(AuditError::KeyNotUnique { .. })
        ),
        "{refused:?}"
    );
    let names: Vec<String> = people::table
        .select(people::name)
        .order(people::id)
        .load(conn)
        .unwrap();
    assert_eq!(names, ["ada", "grace"]);
    assert!(new_trail(app).is_empty());
}

/// Panics where a type of the user's is loaded.
#[derive(Debug, PartialEq, Serialize, FromSqlRow)]
struct Panics;

impl FromSql<Text, Pg> for Panics {
    fn from_sql(_: PgValue<'_>) -> deserialize::Result<Self> {
        std::panic::resume_unwind(Box::new("the user's code"))
    }
}

diesel::table! {
    grenades (id) {
        id -> Integer,
        fuse -> Text,
        place -> Text,
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = grenades)]
struct Grenade {
    id: i32,
    fuse: Panics,
    place: String,
}

#[test]
fn a_type_that_panics_takes_neither_the_statement_nor_the_record_away() {
    let (app, conn) = &mut tenants();
    run(
        conn,
        "CREATE TABLE grenades (id integer PRIMARY KEY, fuse text NOT NULL, place text NOT NULL)",
    );
    let count = audited::insert_into(grenades::table)
        .values((
            grenades::id.eq(1),
            grenades::fuse.eq("in"),
            grenades::place.eq("here"),
        ))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let count = audited::update(grenades::table.find(1))
        .set((grenades::fuse.eq("out"), grenades::place.eq("there")))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [
            r#"insert grenades 1 {"id":{"new":1},"fuse":{"unreadable":["new"]},"place":{"new":"here"}}"#,
            r#"update grenades 1 {"fuse":{"unreadable":["old","new"]},"place":{"old":"here","new":"there"}}"#,
        ]
    );
}
