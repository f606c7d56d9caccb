//! The reader, on a file that has everything, and on files that cannot be read.

use std::path::PathBuf;

use proc_macro2::Span;
use quote::ToTokens;

use crate::errors::Errors;
use crate::schema::file::Reader;
use crate::schema::table::Table;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/schema")
}

fn read(file: &str) -> (Reader, Errors) {
    let mut errors = Errors::default();
    let vouched = match file {
        "kinds.rs" => vec!["table".to_owned(), "tenant_table".to_owned()],
        _ => vec![],
    };
    let mut reader = Reader::new(fixtures(), Span::call_site(), vouched);
    let module = ["crate", "schema"].map(str::to_owned);
    reader.read(file, &module, &mut errors);
    (reader, errors)
}

fn message(file: &str) -> String {
    let (reader, errors) = read(file);
    assert!(!reader.is_complete(), "{file} was read");
    assert_eq!(errors.len(), 1, "{file} has one message");
    errors.into_compile_errors().to_string()
}

fn line(table: &Table) -> String {
    let columns = table.columns.iter().map(|column| match &column.sql_name {
        name if *name == column.name => name.clone(),
        name => format!("{} = {name}", column.name),
    });
    let columns: Vec<_> = columns.collect();
    let cfgs = table
        .cfgs
        .iter()
        .map(|cfg| cfg.to_token_stream().to_string());
    let view = if table.is_view { "view " } else { "" };
    let (name, sql_name, columns) = (table.name(), &table.sql_name, columns.join(", "));
    cfgs.collect::<String>() + &format!("{view}{name} = {sql_name}: {columns}")
}

#[test]
fn every_way_to_write_a_table() {
    let (reader, errors) = read("odd.rs");
    assert_eq!(errors.into_compile_errors().to_string(), "");
    let lines: Vec<_> = reader.tables.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "users = users: id, email, type_ = type, ref, at",
            "memberships = memberships: org_id, user_id",
            "weird_orders = Weird Orders: id",
            "billing::invoices = billing.invoices: number",
            "billing::old::invoices_ = billing_old.invoices: number",
            "# [cfg (target_os = \"none\")]# [cfg (unix)]extra::extras = extras: id",
            "auth::sessions = auth.sessions: token",
            "auth::deeper::deep = deep: id",
            "elsewhere::by_path = by_path: id",
            "included = included: id",
            "view recent_users = recent_users: id, email",
        ]
    );
    assert_eq!(
        reader.files,
        [
            "odd.rs",
            "odd/auth.rs",
            "odd/auth/deeper/mod.rs",
            "odd/by_path.rs",
            "odd/included.rs"
        ]
    );
}

#[test]
fn no_way_of_naming_hides_a_table() {
    let (reader, errors) = read("kinds.rs");
    assert_eq!(errors.into_compile_errors().to_string(), "");
    let lines: Vec<_> = reader.tables.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "local = local: id",
            "renamed = renamed: id",
            "view shown = shown: id",
            "vouched = vouched: id",
            "public::users = users: id",
            "public::inner::by_path = by_path: id",
            "# [cfg (unix)]per_system = per_system: id",
            "# [cfg (not (unix))]per_system = per_system: id",
            "named::in_named = in_named: id",
            "named::beside::beside_named = beside_named: id",
            "inline::deep::in_folder = in_folder: id",
            "plain::part = part: id",
            "plain::of_part::of_part = of_part: id",
            "of_types::beside_types = beside_types: id",
        ]
    );
}

#[test]
fn an_empty_file_has_no_tables() {
    let (reader, errors) = read("empty.rs");
    assert!(reader.is_complete() && errors.is_empty() && reader.tables.is_empty());
}

#[test]
fn files_that_cannot_be_read() {
    for (file, expected) in [
        (
            "nowhere.rs",
            "nowhere.rs cannot be read (there is no such file)",
        ),
        ("odd", "odd cannot be read (it is a folder)"),
        ("bad/not_rust.rs", "bad/not_rust.rs is no valid Rust"),
        (
            "bad/not_utf8.rs",
            "bad/not_utf8.rs cannot be read (it is not UTF-8)",
        ),
        (
            "bad/not_a_table.rs",
            "a table of bad/not_a_table.rs cannot be read: expected",
        ),
        (
            "bad/no_module.rs",
            "`mod gone;` of bad/no_module.rs has no file",
        ),
        (
            "bad/hidden.rs",
            "the macro `schemas!` of bad/hidden.rs writes tables",
        ),
        (
            "bad/hidden_in_rules.rs",
            "the macro `tenant!` of bad/hidden_in_rules.rs writes tables",
        ),
        (
            "bad/glob.rs",
            "`pub use crate::other::*` of bad/glob.rs may bring tables",
        ),
        (
            "bad/glob_of_crate.rs",
            "`pub use tables_of_another_crate::*` of",
        ),
        (
            "bad/glob_of_parent.rs",
            "`pub use super::super::other::*` of",
        ),
        ("bad/glob_in_group.rs", "`pub use crate::other::*` of"),
        ("bad/table_by_name.rs", "`pub use crate::other::users` of"),
        (
            "bad/table_renamed.rs",
            "`pub use crate::other::users as people` of",
        ),
        (
            "bad/local_table.rs",
            "the macro `table!` of bad/local_table.rs writes tables",
        ),
        (
            "bad/foreign_table.rs",
            "vouch for it with `table_macros: [table]`",
        ),
        (
            "bad/like_a_table.rs",
            "the macro `tenant!` of bad/like_a_table.rs writes tables",
        ),
        (
            "bad/path_by_cfg.rs",
            "the file of `mod tables` in bad/path_by_cfg.rs depends on a `cfg_attr`",
        ),
        (
            "bad/included.rs",
            "an `include!` of bad/included.rs names no file",
        ),
    ] {
        let message = message(file);
        assert!(message.contains(expected), "{file}: {message}");
        assert!(!message.contains(env!("CARGO_MANIFEST_DIR")), "{message}");
    }
}
