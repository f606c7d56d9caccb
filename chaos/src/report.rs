//! Runs rounds and prints what came of them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::round::{self, Plan, Result};
use crate::servers::Servers;

/// Rounds until the time is over.
pub fn run(args: &Args) -> ExitCode {
    let seconds = (args.or("minutes", 1.0_f64) * 60.0) as u64;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut servers = Servers::start();
    let mut total = Result::default();
    let first: u64 = args.or("round", 0);
    let mut round = first;
    while round == first || (Instant::now() < end && !args.has("round")) {
        let plan = Plan::of(args, round);
        let result = round::play(&plan, &mut servers);
        tell(&plan, &result);
        add(&mut total, result);
        round += 1;
    }
    print(&total);
    let good = total.verdict.is_good() && total.problems.is_empty();
    // A broken design and the control have to be found out.
    let expected_bad = args.has("break") || args.has("control");
    if good != expected_bad {
        ExitCode::SUCCESS
    } else {
        eprintln!("again: scripts/chaos --seed {}", args.or("seed", 1_u64));
        ExitCode::FAILURE
    }
}

fn tell(plan: &Plan, result: &Result) {
    let v = &result.verdict;
    println!(
        "seed {} round {}: {} kept, {} recorded, {} kills; lost {} twice {} phantom {} wrong {} \
         wrong old {}; in windows {}; quarantined {}; drained in {:?}, stopped in {:?}",
        plan.seed,
        plan.round,
        v.kept,
        v.recorded,
        result.kills.values().sum::<u64>(),
        v.lost,
        v.twice,
        v.phantom,
        v.wrong,
        v.wrong_old,
        v.in_windows(),
        v.quarantined,
        result.drained_in,
        result.stopped_in,
    );
    for text in v.examples.iter().chain(&result.problems) {
        println!("  {text}");
    }
}

fn add(total: &mut Result, result: Result) {
    total.verdict.add(result.verdict);
    for (point, count) in result.kills {
        *total.kills.entry(point).or_default() += count;
    }
    for (fault, count) in result.faults {
        *total.faults.entry(fault).or_default() += count;
    }
    total.shifted += result.shifted;
    total.problems.extend(result.problems);
    total.drained_in = total.drained_in.max(result.drained_in);
    total.stopped_in = total.stopped_in.max(result.stopped_in);
}

fn print(total: &Result) {
    let v = &total.verdict;
    println!("\n{:<44}{:>10}", "process killed at", "times");
    for (point, count) in &total.kills {
        println!("{point:<44}{count:>10}");
    }
    println!("{:<44}{:>10}", "total", total.kills.values().sum::<u64>());
    println!("\n{:<44}{:>10}", "fault", "times");
    for (fault, count) in &total.faults {
        println!("{:<44}{count:>10}", format!("{fault:?}"));
    }
    println!("\n{:<44}{:>10}", "writes", "");
    for (name, count) in [
        ("kept by the database", v.kept),
        ("records", v.recorded),
        ("quarantined", v.quarantined),
        ("lost", v.lost),
        ("twice", v.twice),
        ("phantom", v.phantom),
        ("wrong old values", v.wrong_old),
        ("otherwise wrong", v.wrong),
        ("processes with a shifted clock", total.shifted),
        (
            "slowest SIGTERM to exit, ms",
            total.stopped_in.as_millis() as u64,
        ),
        (
            "slowest drain after the faults, ms",
            total.drained_in.as_millis() as u64,
        ),
    ] {
        println!("{name:<44}{count:>10}");
    }
    if !v.windows.is_empty() {
        println!("\n{:<44}{:>10}", "lost in a documented window, at", "times");
        for (window, count) in &v.windows {
            println!("{window:<44}{count:>10}");
        }
    }
}
