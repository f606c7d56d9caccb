//! Breaks everything that can break, and counts what came of it.
//!
//! `scripts/chaos` runs it. Writers, consumers, PostgreSQL and Redis are real processes; a round
//! ends with an oracle that compares what the database kept with what the trail says.

mod app;
mod args;
mod breaks;
mod consumer;
mod control;
mod faults;
mod figures;
mod fleet;
mod mode;
mod oracle;
mod outcomes;
mod random;
mod report;
mod round;
mod servers;
mod writer;

use std::process::ExitCode;

use args::Args;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let args = match Args::read(words) {
        Ok(args) => args,
        Err(error) => return wrong(&error),
    };
    match command.as_str() {
        "writer" => writer::run(&args),
        "consumer" => consumer::run(&args),
        "run" => return report::run(&args),
        "breaks" => return report::breaks(&args),
        "commit" => return done(figures::commit::run(&args)),
        "backlog" => return done(figures::backlog::run(&args)),
        "poison" => return done(figures::poison::run(&args)),
        "silence" => return done(figures::silence::run(&args)),
        "sigterm" => return done(figures::ended::run(&args)),
        "tail" => return done(figures::tail::run(&args)),
        other => return wrong(&format!("`{other}` is no subcommand")),
    }
    ExitCode::SUCCESS
}

fn done(good: bool) -> ExitCode {
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn wrong(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}
