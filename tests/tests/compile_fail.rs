//! The mistakes that `#[derive(Auditable)]` finds, and what it says.
//!
//! `TRYBUILD=overwrite cargo test -p audit-tests --test compile_fail` writes the messages anew.

#[test]
fn messages() {
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
        "statements",
    ] {
        cases.compile_fail(format!("ui/{case}.rs"));
    }
}
