//! The mistakes that `#[derive(Auditable)]` and `audit_schema!` find, and what they say.
//!
//! `TRYBUILD=overwrite cargo test -p audit-tests --test compile_fail` writes the messages anew.

use std::fs;
use std::path::Path;

#[test]
fn messages() {
    copy_schemas();
    let cases = trybuild::TestCases::new();
    // Named `pass_…`: built and run, which also finds what the compiler checks last.
    cases.pass("ui/pass_*.rs");
    for case in [
        "unknown_words",
        "delivery",
        "values",
        "contradictions",
        "key",
        "key_type",
        "diesel_attributes",
        "not_a_row",
        "field_types",
        "embedding",
        "two_models",
        "missing_column",
        "missing_table",
        "no_cascade",
        "not_audited",
        "secret_names",
        "serde_attributes",
        "leave_out",
        "leave_out_unknown",
        "schema_input",
        "schema_file",
        "schema_lists",
        "schema_models",
        "schema_columns",
        "statements",
        "contexts",
        "connections",
        "not_yet",
        "aggregates",
        "globs",
        "not_loaded",
        "not_queryable",
    ] {
        cases.compile_fail(format!("ui/{case}.rs"));
    }
}

/// Puts the schema files where the cases look for them: in the crate that they are built as.
fn copy_schemas() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let to = target
        .expect("the target folder")
        .join("tests/trybuild/audit-tests/schemas");
    fs::create_dir_all(&to).expect("a folder for schemas");
    for file in fs::read_dir("ui/schema").expect("the schemas") {
        let file = file.expect("a schema");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy of a schema");
    }
}
