//! Reads from SQL text what a query does to the transaction, whoever sent it: Diesel's transaction
//! manager, `batch_execute`, or `sql_query`.

use crate::guard::Bounds;
use crate::sql::{Words, statements_that_run};

/// A transaction control statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Begin,
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// `PREPARE TRANSACTION`: the transaction's end is decided elsewhere.
    Prepare,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// `COPY … TO`: it may fail while its rows are read, and nobody is told.
    CopyOut,
    /// Any other statement beside control statements in one batch.
    Other,
}

/// Appends what the text controls; nothing for one that controls nothing. `visit` sees the first word
/// of each statement, and the statement.
pub(super) fn read(sql: &str, controls: &mut Vec<Control>, mut visit: impl FnMut(&str, &str)) {
    for statement in statements_that_run(sql) {
        let mut words = Words::new(statement);
        let first = words.next().unwrap_or_default();
        visit(first, statement);
        controls.push(control(first, words).unwrap_or(Control::Other));
    }
    if controls.iter().all(|control| *control == Control::Other) {
        controls.clear();
    }
}

/// What the controls of a text mean to the guard, to which a savepoint is a transaction: Diesel's
/// migrations run in one where a test's transaction is around them.
pub(super) fn bounds(controls: &[Control]) -> Bounds {
    use Control::{Begin, Commit, Release, Rollback, RollbackTo, Savepoint};

    let begins = matches!(controls, [Begin | Savepoint(_), ..]);
    let ends = matches!(
        controls,
        [
            ..,
            Commit { .. } | Rollback { .. } | Release(_) | RollbackTo(_)
        ]
    );
    match (begins, ends) {
        (true, false) => Bounds::Begins,
        (false, true) => Bounds::Ends,
        _ => Bounds::Neither,
    }
}

fn control(first: &str, mut words: Words<'_>) -> Option<Control> {
    let is = |word: &str| first.eq_ignore_ascii_case(word);
    if is("begin") {
        return Some(Control::Begin);
    }
    if is("start") {
        return next_is(&mut words, "transaction").then_some(Control::Begin);
    }
    if is("commit") || is("end") {
        return commit(words);
    }
    if is("rollback") || is("abort") {
        return Some(rollback(words));
    }
    if is("savepoint") {
        return words
            .next()
            .map(|name| Control::Savepoint(identifier(name)));
    }
    if is("release") {
        return savepoint_name(words).map(Control::Release);
    }
    if is("prepare") {
        return next_is(&mut words, "transaction").then_some(Control::Prepare);
    }
    if is("copy") {
        let out = words.any(|word| word.eq_ignore_ascii_case("to"));
        return out.then_some(Control::CopyOut);
    }
    None
}

fn commit(mut words: Words<'_>) -> Option<Control> {
    match words.next() {
        // `COMMIT PREPARED 'x'` ends another transaction than this one.
        Some(word) if word.eq_ignore_ascii_case("prepared") => None,
        Some(word) => Some(Control::Commit {
            chain: chains(word, words),
        }),
        None => Some(Control::Commit { chain: false }),
    }
}

fn rollback(mut words: Words<'_>) -> Control {
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("to") {
            return savepoint_name(words).map_or(Control::Other, Control::RollbackTo);
        }
        if word.eq_ignore_ascii_case("prepared") {
            return Control::Other;
        }
        if word.eq_ignore_ascii_case("and") {
            return Control::Rollback {
                chain: chains(word, words),
            };
        }
    }
    Control::Rollback { chain: false }
}

/// `AND CHAIN`, `WORK AND CHAIN`, but not `AND NO CHAIN`.
fn chains(first: &str, rest: Words<'_>) -> bool {
    let mut after_and = false;
    for word in std::iter::once(first).chain(rest) {
        if after_and {
            return word.eq_ignore_ascii_case("chain");
        }
        after_and = word.eq_ignore_ascii_case("and");
    }
    false
}

fn savepoint_name(mut words: Words<'_>) -> Option<String> {
    let word = words.next()?;
    if word.eq_ignore_ascii_case("savepoint") {
        return words.next().map(identifier);
    }
    Some(identifier(word))
}

fn next_is(words: &mut Words<'_>, expected: &str) -> bool {
    words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case(expected))
}

/// A savepoint's name as the database compares it: folded to lower case unless quoted.
fn identifier(word: &str) -> String {
    for quote in ['"', '`', '\''] {
        let quoted = word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote));
        if let Some(quoted) = quoted {
            return quoted.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    word.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(sql: &str) -> Vec<Control> {
        let mut controls = Vec::new();
        read(sql, &mut controls, |_, _| ());
        controls
    }

    fn name(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn transaction_control_is_read_however_it_is_written() {
        use Control::{Begin, Commit, Prepare, Release, Rollback, RollbackTo, Savepoint};
        let commit = Commit { chain: false };
        let rollback = Rollback { chain: false };
        for (sql, expected) in [
            ("BEGIN", Begin),
            ("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE", Begin),
            ("begin immediate", Begin),
            (" /* why */ -- how\n start  transaction", Begin),
            ("COMMIT", commit.clone()),
            ("/* as SQLite reads /* it */ COMMIT", commit.clone()),
            ("End;", commit.clone()),
            ("COMMIT AND NO CHAIN", commit),
            ("COMMIT WORK AND CHAIN", Commit { chain: true }),
            ("ROLLBACK", rollback.clone()),
            ("abort work", rollback),
            ("ROLLBACK AND CHAIN", Rollback { chain: true }),
            ("PREPARE TRANSACTION 'x'", Prepare),
            (
                "SAVEPOINT diesel_savepoint_1",
                Savepoint(name("diesel_savepoint_1")),
            ),
            ("savepoint \"My\"\"Point\"", Savepoint(name("My\"Point"))),
            ("SAVEPOINT `a b`", Savepoint(name("a b"))),
            ("SAVEPOINT 'it''s'", Savepoint(name("it's"))),
            ("SAVEPOINT [Sp]", Savepoint(name("sp"))),
            ("RELEASE SAVEPOINT Sp", Release(name("sp"))),
            ("release sp", Release(name("sp"))),
            ("ROLLBACK TO SAVEPOINT sp", RollbackTo(name("sp"))),
            ("rollback transaction to sp", RollbackTo(name("sp"))),
            ("COMMIT -- binds: []", Commit { chain: false }),
        ] {
            assert_eq!(controls(sql), [expected], "{sql}");
        }
    }

    #[test]
    fn a_batch_is_read_statement_by_statement() {
        use Control::{Begin, Commit, Other};
        assert_eq!(controls("SET x = 1; BEGIN"), [Other, Begin]);
        assert_eq!(
            controls("BEGIN; UPDATE t SET a = ';COMMIT;'; COMMIT;"),
            [Begin, Other, Commit { chain: false }]
        );
    }

    #[test]
    fn a_backslash_hides_a_quote_in_an_e_string_alone() {
        use Control::{Commit, Other};
        let commit = Commit { chain: false };
        assert_eq!(
            controls(r"SELECT * FROM a WHERE b LIKE'%\'; COMMIT"),
            [Other, commit]
        );
        assert_eq!(controls(r"SELECT e'\'; COMMIT; --'"), []);
    }

    #[test]
    fn a_copy_to_the_client_may_fail_unheard() {
        for sql in ["COPY t TO STDOUT", "copy (SELECT 1 FROM t) to stdout"] {
            assert_eq!(controls(sql), [Control::CopyOut], "{sql}");
        }
        assert_eq!(controls("COPY t (a) FROM STDIN"), []);
    }

    #[test]
    fn what_controls_nothing_is_not_taken_for_control() {
        for sql in [
            "SELECT 'COMMIT'",
            "UPDATE t SET a = 'x; ROLLBACK'",
            "SELECT E'a\\'; COMMIT; --'",
            "SELECT $1; SELECT $2",
            "DO $$ BEGIN PERFORM 1; COMMIT; END $$",
            "DO $body$ BEGIN; $$; COMMIT; END $body$",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = 1; END;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
            "/* BEGIN; /* nested */ COMMIT; */ SELECT 1",
            "COMMIT PREPARED 'x'",
            "PREPARE plan AS SELECT 1",
            "SELECT \"commit\" FROM begin_table",
            "",
            ";;",
            "'unterminated; COMMIT",
        ] {
            assert_eq!(controls(sql), [], "{sql}");
        }
    }

    #[test]
    fn any_text_is_read_without_panicking() {
        for sql in [
            "é; COMMIT é",
            "$é$",
            "E'\\",
            "/*",
            "$",
            "--",
            "\"",
            "a$b$; COMMIT",
        ] {
            let _ = controls(sql);
        }
    }
}
