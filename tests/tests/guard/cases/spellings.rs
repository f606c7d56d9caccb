//! However a statement is spelled, the verdict is the same.

use std::cell::RefCell;

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{guarded_names, stopped};

/// Statements as their tokens, and whether they write `users`. `?` is a literal.
const STATEMENTS: &[(&[&str], bool)] = &[
    (&["UPDATE", "users", "SET", "a", "=", "?"], true),
    (&["DELETE", "FROM", "users", "WHERE", "a", "=", "?"], true),
    (
        &[
            "INSERT", "INTO", "users", "(", "a", ")", "VALUES", "(", "?", ")",
        ],
        true,
    ),
    (
        &[
            "WITH", "x", "AS", "(", "SELECT", "?", ")", "DELETE", "FROM", "users",
        ],
        true,
    ),
    (
        &[
            "WITH", "x", "(", "a", ")", "AS", "(", "SELECT", "a", "FROM", "other", ")", ",", "y",
            "AS", "(", "SELECT", "?", ")", "INSERT", "INTO", "users", "SELECT", "*", "FROM", "x",
        ],
        true,
    ),
    (
        &[
            "UPDATE", "other", "SET", "a", "=", "(", "SELECT", "?", "FROM", "users", ")",
        ],
        false,
    ),
    (
        &[
            "INSERT", "INTO", "other", "SELECT", "?", ",", "a", "FROM", "users",
        ],
        false,
    ),
    (
        &[
            "DELETE", "FROM", "other", "WHERE", "a", "IN", "(", "SELECT", "a", "FROM", "users", ")",
        ],
        false,
    ),
    (
        &[
            "WITH", "users", "AS", "(", "SELECT", "?", ")", "UPDATE", "other", "SET", "a", "=", "?",
        ],
        false,
    ),
    (&["SELECT", "?", ",", "delete", "FROM", "users"], false),
    (&["EXPLAIN", "DELETE", "FROM", "users"], false),
];

fn is_name(token: &str) -> bool {
    ["users", "other", "a", "x", "y", "delete"].contains(&token)
}

fn gap() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        " ",
        "\n",
        " \t\r\n ",
        "/**/",
        "/* users */",
        "/* it's; DELETE FROM users */",
        " -- UPDATE users SET a = 1\n",
        "--\n",
        "\u{c}",
    ])
}

fn literal() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "1",
        "'x'",
        "'it''s'",
        "'DELETE FROM users'",
        "';'",
        "'--'",
        "'/*'",
    ])
}

/// A token in another case, and a name in quotes or with its schema.
fn spelled(token: &'static str) -> BoxedStrategy<String> {
    if token == "?" {
        return literal().prop_map(str::to_owned).boxed();
    }
    if token == "users" {
        let names = ["users", "USERS", "uSeRs", "\"users\""];
        return proptest::sample::select(names.to_vec())
            .prop_map(str::to_owned)
            .boxed();
    }
    if is_name(token) {
        let names = [
            token.to_owned(),
            token.to_uppercase(),
            format!("\"{token}\""),
        ];
        return proptest::sample::select(names.to_vec()).boxed();
    }
    proptest::collection::vec(any::<bool>(), token.len())
        .prop_map(move |upper| {
            let cased = |(character, upper): (char, bool)| match upper {
                true => character.to_ascii_uppercase(),
                false => character.to_ascii_lowercase(),
            };
            token.chars().zip(upper).map(cased).collect()
        })
        .boxed()
}

/// The tokens with any gap between them, and other statements around.
fn text(tokens: &'static [&'static str]) -> impl Strategy<Value = String> {
    let parts: Vec<_> = tokens.iter().map(|token| (gap(), spelled(token))).collect();
    let before = proptest::sample::select(vec!["", "SELECT 1;", " ; ", "SELECT ';' ;"]);
    let after = proptest::sample::select(vec!["", ";", "; SELECT 1", " -- the end"]);
    (before, parts, after).prop_map(|(before, parts, after)| {
        let parts: String = parts
            .iter()
            .flat_map(|(gap, token)| [*gap, token])
            .collect();
        format!("{before}{parts}{after}")
    })
}

#[test]
fn comments_white_space_case_and_quotes_change_no_verdict() {
    let conn = RefCell::new(guarded_names());
    let any_statement =
        (0..STATEMENTS.len()).prop_flat_map(|which| (Just(which), text(STATEMENTS[which].0)));
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&any_statement, |(which, text)| {
        let found = stopped(&mut conn.borrow_mut(), |conn| {
            drop(conn.batch_execute(&text))
        })
        .is_some();
        prop_assert_eq!(found, STATEMENTS[which].1, "{}", text);
        Ok(())
    });
    result.unwrap();
}
