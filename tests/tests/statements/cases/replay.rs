//! Random work through `audited::` and through `diesel::` on a twin of the table: both tables are
//! the same in the end, and the trail tells the whole story.

use std::collections::BTreeMap;

use audit_diesel::{Record, audited};
use audit_tests::app::accounts;
use diesel::prelude::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{App, Conn, Pooled, app, forget, run};

diesel::table! {
    twins (id) {
        id -> Integer,
        email -> Text,
        role -> Text,
        balance -> BigInt,
        note -> Nullable<Text>,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<(String, i64)>),
    InsertNew(Vec<(String, i64)>),
    Copy {
        from: i64,
    },
    Set {
        low: i32,
        high: i32,
        role: Option<String>,
        note: Option<Option<String>>,
    },
    Add {
        low: i32,
        high: i32,
        add: i64,
    },
    Rename {
        id: i32,
        email: String,
    },
    ShiftKeys {
        low: i32,
        high: i32,
    },
    Delete {
        low: i32,
        high: i32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // Not empty: what Diesel counts then on SQLite is the statement before.
    let rows = || prop::collection::vec(("[a-h]", 0..20_i64), 1..4);
    let text = || prop::sample::select(vec!["x", "y", "\"quote'"]).prop_map(str::to_owned);
    let (low, high) = (|| 0..12_i32, || 0..12_i32);
    prop_oneof![
        4 => rows().prop_map(Step::Insert),
        3 => rows().prop_map(Step::InsertNew),
        1 => (0..20_i64).prop_map(|from| Step::Copy { from }),
        4 => (low(), high(), prop::option::of(text()), prop::option::of(prop::option::of(text())))
            .prop_map(|(low, high, role, note)| Step::Set { low, high, role, note }),
        3 => (low(), high(), -5..5_i64).prop_map(|(low, high, add)| Step::Add { low, high, add }),
        2 => (low(), "[a-h]").prop_map(|(id, email)| Step::Rename { id, email }),
        1 => (low(), high()).prop_map(|(low, high)| Step::ShiftKeys { low, high }),
        2 => (low(), high()).prop_map(|(low, high)| Step::Delete { low, high }),
    ]
}

macro_rules! apply {
    ($through:ident, $t:ident, $step:expr, $conn:expr) => {{
        let conn = &mut *$conn;
        let values = |rows: &[(String, i64)]| -> Vec<_> {
            let value = |row: &(String, i64)| ($t::email.eq(row.0.clone()), $t::balance.eq(row.1));
            rows.iter().map(value).collect()
        };
        match $step.clone() {
            Step::Insert(rows) => $through::insert_into($t::table)
                .values(values(&rows))
                .execute(conn),
            Step::InsertNew(rows) => $through::insert_into($t::table)
                .values(values(&rows))
                .on_conflict($t::email)
                .do_nothing()
                .execute(conn),
            Step::Copy { from } => $through::insert_into($t::table)
                .values(
                    $t::table
                        .filter($t::balance.eq(from))
                        .order($t::id)
                        .select(($t::email.concat("'"), $t::balance)),
                )
                .into_columns(($t::email, $t::balance))
                .execute(conn),
            Step::Set {
                low,
                high,
                role,
                note,
            } => $through::update($t::table.filter($t::id.between(low, high)))
                .set((
                    role.map(|role| $t::role.eq(role)),
                    note.map(|note| $t::note.eq(note)),
                ))
                .execute(conn),
            Step::Add { low, high, add } => $through::update($t::table)
                .filter($t::id.ge(low))
                .set($t::balance.eq($t::balance + add))
                .filter($t::id.le(high))
                .execute(conn),
            Step::Rename { id, email } => $through::update($t::table.find(id))
                .set($t::email.eq(email))
                .execute(conn),
            Step::ShiftKeys { low, high } => {
                $through::update($t::table.filter($t::id.between(low, high)))
                    .set($t::id.eq($t::id + 1000))
                    .execute(conn)
            }
            Step::Delete { low, high } => {
                $through::delete($t::table.filter($t::id.between(low, high))).execute(conn)
            }
        }
    }};
}

macro_rules! rows {
    ($t:ident, $conn:expr) => {
        $t::table
            .order($t::id)
            .select(($t::id, $t::email, $t::role, $t::balance, $t::note))
            .load::<(i32, String, String, i64, Option<String>)>(&mut *$conn)
            .unwrap()
    };
}

/// The rows as the records tell them.
fn replayed(records: &[Record]) -> BTreeMap<i64, Map<String, Value>> {
    let mut rows = BTreeMap::new();
    for record in records {
        let id: i64 = record.resource_id.as_deref().unwrap().parse().unwrap();
        let Value::Object(changes) = record.changes.as_ref().unwrap().to_value().unwrap() else {
            panic!("{record:?}");
        };
        let mut row: Map<String, Value> = match record.action.as_str() {
            "insert" => Map::new(),
            _ => rows.remove(&id).expect("the row was there"),
        };
        if record.action == "delete" {
            continue;
        }
        for (field, change) in changes.into_iter().filter(|(name, _)| name != "api_token") {
            assert_eq!(row.get(&field), change.get("old"), "{field} in {record:?}");
            row.insert(field, change["new"].clone());
        }
        rows.insert(row["id"].as_i64().unwrap(), row);
    }
    rows
}

fn check(app: &App, conn: &mut Pooled, steps: &[Step]) {
    for step in steps {
        let ours = apply!(audited, accounts, step, conn);
        let diesels = apply!(diesel, twins, step, conn as &mut Conn);
        assert_eq!(kind(&ours), kind(&diesels), "{step:?}");
    }
    let rows = rows!(accounts, conn);
    assert_eq!(rows, rows!(twins, conn));
    let told = replayed(&app.records());
    let table = rows.into_iter().map(|(id, email, role, balance, note)| {
        json!({"id": id, "email": email, "role": role, "balance": balance, "note": note,
            "updated_at": "2026-01-01T00:00:00"})
    });
    assert_eq!(
        told.into_values().map(Value::Object).collect::<Vec<_>>(),
        table.collect::<Vec<_>>()
    );
}

fn kind(result: &QueryResult<usize>) -> Result<usize, String> {
    result
        .as_ref()
        .map(|count| *count)
        .map_err(|error| match error {
            diesel::result::Error::DatabaseError(kind, _) => format!("{kind:?}"),
            other => other.to_string(),
        })
}

#[test]
fn the_trail_rebuilds_the_table() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, super::super::TWINS);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 80,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec(step(), 1..15);
    let conn = std::cell::RefCell::new(conn);
    runner
        .run(&steps, |steps| {
            let conn = &mut **conn.borrow_mut();
            run(conn, super::super::EMPTY_BOTH);
            forget(&app);
            check(&app, conn, &steps);
            Ok(())
        })
        .unwrap();
}
