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
mod fleet;
mod oracle;
mod outcomes;
mod proxy;
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
        other => return wrong(&format!("`{other}` is no subcommand")),
    }
    ExitCode::SUCCESS
}

fn wrong(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}
