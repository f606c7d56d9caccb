//! Audited statements, on both backends: what Diesel does is done, and what changed is recorded.

mod on_postgres {
    use audit_tests::app::postgres::*;

    #[path = "../../cases/statements.rs"]
    mod cases;
}

mod on_sqlite {
    use audit_tests::app::sqlite::*;

    #[path = "../../cases/statements.rs"]
    mod cases;
}
