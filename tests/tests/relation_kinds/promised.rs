//! The table of the docs: what is promised for each kind of relation.

use std::collections::BTreeMap;

const DOCS: &str = include_str!("../../../audit-diesel/docs/relations.md");

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As plain Diesel, with a record for each row that it counts.
    Recorded,
    /// Nothing is written, and a message says what to do.
    Refused,
    /// As plain Diesel, which gets the same error.
    Fails,
}

/// The outcomes of insert, update and delete, by the kind of relation, under this heading of the docs.
pub(crate) fn promised(heading: &str) -> BTreeMap<&'static str, [Outcome; 3]> {
    let (_, section) = DOCS.split_once(&format!("## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|line| !line.starts_with("| relation "));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let outcomes = [1, 2, 3].map(|cell| outcome(cells[cell]));
        (cells[0], outcomes)
    })
    .collect()
}

fn outcome(cell: &str) -> Outcome {
    let first = cell.split([' ', ',', ';', ':']).next().unwrap();
    match first {
        "recorded" => Outcome::Recorded,
        "refused" => Outcome::Refused,
        "fails" => Outcome::Fails,
        other => panic!("{other:?} in {cell:?}"),
    }
}
