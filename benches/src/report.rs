//! What was measured, as a table for people, for the documentation, and for machines.

use std::fmt::Write;

use serde::Serialize;

use crate::measure::{Ratio, Samples};

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What is measured, and against what.
    pub(crate) what: String,
    /// The result: a ratio where `unit` is empty.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) spread: Option<(f64, f64)>,
    /// The ratio of the 99th percentiles.
    pub(crate) p99: Option<f64>,
    pub(crate) target: Option<Target>,
    /// The absolute numbers behind it.
    pub(crate) detail: String,
    /// The heading on the page under which it is explained that the target is missed.
    pub(crate) explained: &'static str,
}

/// What the value should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}", number(bound, unit)),
            Self::AtLeast(bound) => format!("≥ {}", number(bound, unit)),
        }
    }
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            spread: None,
            p99: None,
            target: None,
            detail: String::new(),
            explained: "",
        }
    }

    /// A ratio of medians.
    pub(crate) fn ratio(what: impl Into<String>, ratio: Ratio) -> Self {
        Self {
            spread: Some(ratio.spread),
            p99: Some(ratio.p99),
            ..Self::new(what, ratio.p50, "")
        }
    }

    /// A ratio, with the medians behind it.
    pub(crate) fn compare(what: impl Into<String>, ours: &Samples, baseline: &Samples) -> Self {
        let row = Self::ratio(what, crate::measure::ratio(ours, baseline));
        row.detail(format!(
            "{} against {}",
            number(ours.p50(), "µs"),
            number(baseline.p50(), "µs")
        ))
    }

    pub(crate) fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtMost(bound));
        self
    }

    pub(crate) fn at_least(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtLeast(bound));
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn explained(mut self, heading: &'static str) -> Self {
        self.explained = heading;
        self
    }

    /// Its cells; `pointer` says where a heading is found.
    fn cells(&self, pointer: fn(&str) -> String) -> [String; 6] {
        let verdict = |target: Target| match target.holds(self.value) {
            true => "yes".to_owned(),
            false => format!("no, {}", pointer(self.explained)),
        };
        let spread = self.spread.map_or(String::new(), |(low, high)| {
            format!("{}–{}", number(low, ""), number(high, ""))
        });
        [
            self.what.clone(),
            number(self.value, self.unit),
            spread,
            self.p99.map_or(String::new(), |p99| number(p99, "")),
            self.target.map_or(String::new(), |target| {
                format!("{}: {}", target.text(self.unit), verdict(target))
            }),
            self.detail.clone(),
        ]
    }
}

/// A number with as many digits as it deserves.
pub(crate) fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 || v == 0.0 => 2,
        _ => 3,
    };
    let digits = if value.fract() == 0.0 && !unit.is_empty() {
        0
    } else {
        digits
    };
    let separator = if unit.is_empty() { "" } else { " " };
    format!("{}{separator}{unit}", grouped(value, digits))
}

/// How many.
pub(crate) fn count(number: usize) -> String {
    grouped(number as f64, 0)
}

/// 1234567 as 1,234,567.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((&*text, ""), |parts| parts);
    let mut out = String::new();
    let length = whole.trim_start_matches('-').len();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > whole.len() - length && left.is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

const TITLES: [&str; 6] = ["what", "result", "spread", "p99", "target: met", "medians"];

/// The table for a terminal.
pub(crate) fn text(rows: &[Row]) -> String {
    let pointer = |heading: &str| format!("see \"{heading}\"");
    let cells: Vec<_> = rows.iter().map(|row| row.cells(pointer)).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let titles = TITLES[column].chars().count();
        let longest = cells.iter().map(|row| row[column].chars().count()).max();
        titles.max(longest.unwrap_or(0))
    });
    let mut out = String::new();
    for row in std::iter::once(&TITLES.map(String::from)).chain(&cells) {
        for (cell, width) in row.iter().zip(widths) {
            let padding = width - cell.chars().count();
            let _ = write!(out, "{cell}{}  ", " ".repeat(padding));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// The table for the documentation.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = format!("| {} |\n|{}\n", TITLES.join(" | "), "---|".repeat(6));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.cells(link).join(" | "));
    }
    out
}

/// A link to a heading of the same page, as GitHub and rustdoc name it.
fn link(heading: &str) -> String {
    format!("[why](#{})", heading.to_lowercase().replace(' ', "-"))
}

const TABLE_BEGINS: &str = "<!-- table: written by `scripts/bench --docs` -->\n";
const TABLE_ENDS: &str = "<!-- end of table -->";

/// The page with this table in place of the one that it has.
pub(crate) fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(TABLE_BEGINS)?;
    let (_, after) = rest.split_once(TABLE_ENDS)?;
    Some(format!(
        "{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Row, markdown, text};

    #[test]
    fn a_missed_target_leads_to_its_explanation() {
        let row = |value| Row::new("a", value, "").at_most(1.0).explained("The parts");
        assert!(markdown(&[row(1.1)]).contains("| ≤ 1.00: no, [why](#the-parts) |"));
        assert!(text(&[row(1.1)]).contains("≤ 1.00: no, see \"The parts\""));
        assert!(markdown(&[row(1.0)]).contains("| ≤ 1.00: yes |"));
    }
}
