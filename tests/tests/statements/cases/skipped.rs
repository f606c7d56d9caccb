//! What a model skips costs nothing: the database is not asked for it.

use std::sync::mpsc::{self, Receiver};

use audit_diesel::{Auditable, audited};
use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::prelude::*;

use super::super::{BYTES, plain_connection};
use super::{App, Conn, app, new_trail, run};

diesel::table! {
    photos (id) {
        id -> Integer,
        title -> Text,
        image -> Binary,
    }
}

#[derive(Debug, Queryable, Auditable)]
#[diesel(table_name = photos)]
struct Photo {
    id: i32,
    title: String,
    #[audit(skip)]
    #[allow(dead_code)]
    image: Vec<u8>,
}

fn photos_table() -> String {
    format!(
        "CREATE TABLE photos (id integer PRIMARY KEY, title text NOT NULL, image {BYTES} NOT NULL)"
    )
}

/// A connection with the auditor, and the statements that it runs from now on.
fn watched(app: &App) -> (Conn, Receiver<String>) {
    let (sender, statements) = mpsc::channel();
    let watch = move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let _ = sender.send(query.to_string());
        }
    };
    let watch: Box<dyn Instrumentation> = Box::new(watch);
    let mut conn = plain_connection(app);
    app.auditor.attach_chained(&mut conn, Some(watch));
    (conn, statements)
}

#[test]
fn a_skipped_column_of_two_megabytes_is_not_selected_by_any_statement() {
    let app = app();
    let (conn, statements) = &mut watched(&app);
    run(&mut plain_connection(&app), &photos_table());
    let values = (
        photos::id.eq(1),
        photos::title.eq("a"),
        photos::image.eq(&[0][..]),
    );
    let count = audited::insert_into(photos::table)
        .values(values)
        .execute(conn);
    assert_eq!(count, Ok(1));
    diesel::update(photos::table)
        .set(photos::image.eq(vec![7; 2 << 20]))
        .execute(&mut plain_connection(&app))
        .unwrap();
    let count = audited::update(photos::table.find(1))
        .set(photos::title.eq("b"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(audited::delete(photos::table.find(1)).execute(conn), Ok(1));
    assert_eq!(
        new_trail(&app),
        [
            r#"insert photos 1 {"id":{"new":1},"title":{"new":"a"}}"#,
            r#"update photos 1 {"title":{"old":"a","new":"b"}}"#,
            r#"delete photos 1 {"id":{"old":1},"title":{"old":"b"}}"#,
        ]
    );
    let reads: Vec<String> = statements
        .try_iter()
        .filter_map(|sql| match sql.split_once("RETURNING") {
            // What an insert writes, it names.
            Some((insert, returned)) if insert.starts_with("INSERT") => Some(returned.to_owned()),
            _ => sql.contains("title").then_some(sql),
        })
        .collect();
    assert!(reads.len() >= 3, "{reads:?}");
    assert!(reads.iter().all(|sql| !sql.contains("image")), "{reads:?}");
}

#[test]
fn a_change_of_what_is_skipped_alone_makes_no_record() {
    let app = app();
    let (conn, _) = &mut watched(&app);
    run(conn, &photos_table());
    run(conn, "INSERT INTO photos VALUES (1, 'a', 'b')");
    let count = audited::update(photos::table.find(1))
        .set(photos::image.eq(&[1][..]))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert!(new_trail(&app).is_empty());
}
