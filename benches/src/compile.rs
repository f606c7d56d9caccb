//! How long the compiler takes: `cargo check` of a crate of models with and without the derive, and
//! of a crate with and without `audit_schema!`.
//!
//! Everything that these crates depend on is compiled before, and what counts is processor time:
//! the compiler does the same work each time, and the clock shows what else the machine does.

mod generated;
mod sources;

use std::cell::RefCell;
use std::time::Instant;

use crate::measure::{Contender, Samples, race_after};
use crate::report::{Row, number};
use crate::{Effort, Fallible};
use generated::{Generated, Workplace};

/// What stands beside `Auditable` where a model is only read.
const DERIVES_OF_A_READER: &str = "Queryable, Selectable, Identifiable";
/// What stands there where it is written as well.
const ALL_DERIVES: &str = "Queryable, Selectable, Identifiable, Insertable, AsChangeset";

pub(crate) fn rows(effort: Effort) -> Fallible<Vec<Row>> {
    let place = Workplace::new()?;
    // What all of them depend on is compiled with the first one.
    place.crate_of("empty", sources::EMPTY)?.check()?;
    let rounds = effort.rounds(1, 1, 3);
    let models = effort.rounds(2, 100, 100);
    let mut rows = Vec::new();
    for derives in [ALL_DERIVES, DERIVES_OF_A_READER] {
        rows.push(models_row(&place, models, derives, rounds)?);
    }
    rows.extend(schema_rows(&place, effort.rounds(2, 200, 200), rounds + 2)?);
    Ok(rows)
}

fn models_row(place: &Workplace, models: usize, derives: &str, rounds: usize) -> Fallible<Row> {
    let with = place.crate_of("audited", &sources::models(models, derives, true))?;
    let without = place.crate_of("plain", &sources::models(models, derives, false))?;
    let [with, without] = race(rounds, [&with, &without])?;
    let how_many = derives.split(',').count();
    let what = format!(
        "compile time of {models} models with {how_many} of Diesel's derives, with `Auditable` ÷ without"
    );
    let ratio = crate::measure::ratio(&with.processor, &without.processor);
    let row = Row {
        p99: None,
        ..Row::ratio(what, ratio)
    };
    Ok(row.at_most(1.25).detail(format!(
        "{} against {}; by the clock {} against {}",
        seconds(with.processor.p50()),
        seconds(without.processor.p50()),
        seconds(with.clock.p50()),
        seconds(without.clock.p50()),
    )))
}

fn schema_rows(place: &Workplace, tables: usize, rounds: usize) -> Fallible<Vec<Row>> {
    // A crate of their own, so that only the macro's own time is left.
    let models = place.crate_of(
        "tables",
        &sources::models(tables, DERIVES_OF_A_READER, true),
    )?;
    let without = place.crate_with("without_macro", sources::EMPTY, &models)?;
    without.check()?;
    let mut rows = Vec::new();
    for audited in [true, false] {
        let source = sources::schema(&models.source(), tables, audited);
        let with = place.crate_with("with_macro", &source, &models)?;
        let [with, without] = race(rounds, [&with, &without])?;
        let list = if audited { "audited" } else { "exempt" };
        let what = format!("compile time of `audit_schema!` over {tables} tables, all {list}");
        let took = |with: &Samples, without: &Samples| (with.p50() - without.p50()) / 1e6;
        let clock = took(&with.clock, &without.clock);
        rows.push(
            Row::new(what, took(&with.processor, &without.processor), "s")
                .at_most(1.0)
                .detail(format!("by the clock {}", number(clock, "s"))),
        );
    }
    Ok(rows)
}

fn seconds(micros: f64) -> String {
    number(micros / 1e6, "s")
}

/// What compiling a crate takes.
#[derive(Default)]
struct Times {
    processor: Samples,
    clock: Samples,
}

/// Compiles the crates in turns.
fn race(rounds: usize, crates: [&Generated; 2]) -> Fallible<[Times; 2]> {
    let clocks: [RefCell<Vec<_>>; 2] = Default::default();
    let contenders = crates.iter().zip(&clocks).map(|(generated, clock)| {
        Contender::timed(move |_| {
            let start = Instant::now();
            let took = generated.check().expect("a crate that compiles");
            clock.borrow_mut().push(start.elapsed());
            took
        })
    });
    let processor = race_after(0, rounds, contenders.collect());
    let clocks = clocks.map(|clock| clock.into_inner().into_iter().collect());
    let times = processor.into_iter().zip(clocks);
    let times: Vec<_> = times
        .map(|(processor, clock)| Times { processor, clock })
        .collect();
    times
        .try_into()
        .map_err(|_| "as many times as crates".into())
}
