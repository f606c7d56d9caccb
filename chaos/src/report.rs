//! Runs rounds and prints what came of them.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::breaks::Break;
use crate::figures::tail;
use crate::round::{self, Plan, Result};
use crate::servers::Servers;

/// From here on there is time for each offset of Redis' file.
const LONG: u64 = 240;

/// Rounds until the time is over; before them the control, and Redis' file cut short.
pub fn run(args: &Args) -> ExitCode {
    let seconds = (args.or("minutes", 1.0_f64) * 60.0) as u64;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut servers = Servers::start();
    let only = args.text("round").map(|_| args.or("round", 0_u64));
    // A broken design and the control have to be found out.
    let to_fail = args.has("break") || args.has("control");
    let mut total = Result::default();
    if only.is_none() && !to_fail {
        before(args, &mut servers, seconds, &mut total);
    }
    let mut round = only.unwrap_or(0);
    loop {
        let plan = Plan::of(args, round);
        let result = round::play(&plan, &mut servers);
        tell(&plan, &result);
        total.add(result);
        round += 1;
        if only.is_some() || Instant::now() >= end {
            break;
        }
    }
    print(&total);
    match (total.is_good(), to_fail) {
        (true, true) => eprintln!("error: nothing was found, and something is broken on purpose"),
        (false, false) => eprintln!("error: see above"),
        _ => return ExitCode::SUCCESS,
    }
    ExitCode::FAILURE
}

/// Each way to break the design on purpose, for one round.
pub fn breaks(args: &Args) -> ExitCode {
    let mut servers = Servers::start();
    let mut missed = 0;
    for (name, _) in Break::ALL {
        let plan = Plan {
            broken: Some(name.to_owned()),
            mode: crate::mode::AFTER_COMMIT.to_owned(),
            ..Plan::of(args, 0)
        };
        let result = round::play(&plan, &mut servers);
        println!("\n{name}:");
        tell(&plan, &result);
        missed += u64::from(result.is_good());
    }
    match missed {
        0 => ExitCode::SUCCESS,
        _ => {
            eprintln!("error: {missed} of them were not found");
            ExitCode::FAILURE
        }
    }
}

/// On a slow machine few consumers die while they hold records.
const CONTROLS: u64 = 20;

/// What has to fail fails, and what takes no rounds is done.
fn before(args: &Args, servers: &mut Servers, seconds: u64, total: &mut Result) {
    let found = (0..CONTROLS).any(|attempt| {
        let control = round::play(&Plan::control(args, attempt), servers);
        let v = &control.verdict;
        println!(
            "control, a plain consumer: {} kept, {} recorded, {} lost",
            v.kept, v.recorded, v.lost
        );
        v.lost > 0
    });
    if !found {
        total
            .problems
            .push("the control lost nothing: this suite cannot find losses".to_owned());
    }
    let step = if seconds >= LONG { 1 } else { 12 };
    if !tail::cut(step) {
        total.problems.push("Redis' file, cut short".to_owned());
    }
}

fn tell(plan: &Plan, result: &Result) {
    let v = &result.verdict;
    println!(
        "seed {} round {} {}: {} kept, {} recorded, {} kills; lost {} twice {} phantom {} wrong {} \
         wrong old {}; in windows {}; set aside {}, poison {}; drained in {:?}, stopped in {:?}",
        plan.seed,
        plan.round,
        plan.mode,
        v.kept,
        v.recorded,
        result.kills.values().sum::<u64>(),
        v.lost,
        v.twice,
        v.phantom,
        v.wrong,
        v.wrong_old,
        v.in_windows(),
        v.set_aside,
        v.poisoned,
        result.drained_in,
        result.stopped_in,
    );
    if result.is_good() && v.set_aside == 0 {
        return;
    }
    for text in v.examples.iter().chain(&result.problems) {
        println!("  {text}");
    }
    println!("  faults in their order: {:?}", result.schedule);
    println!(
        "  again: scripts/chaos --seed {} --round {}",
        plan.seed, plan.round
    );
}

fn row(name: &str, value: impl Display) {
    println!("{name:<52}{value:>10}");
}

fn heading(name: &str, what: &str) {
    println!();
    row(name, what);
}

fn print(total: &Result) {
    let v = &total.verdict;
    heading("process killed at", "times");
    for (point, count) in &total.kills {
        row(point, count);
    }
    row("total", total.kills.values().sum::<u64>());
    heading("fault", "times");
    for (fault, count) in &total.faults {
        row(&format!("{fault:?}"), count);
    }
    row("processes with a shifted clock", total.shifted);
    row("processes in which something panics", total.panicking);
    heading("write", "times");
    row("kept by the database", v.kept);
    row("recorded", v.recorded);
    row("lost", v.lost);
    row("twice", v.twice);
    row("phantom", v.phantom);
    row("wrong old value", v.wrong_old);
    row("wrong otherwise", v.wrong);
    row("lost in a window that is documented", v.in_windows());
    for (window, count) in &v.windows {
        row(&format!("  {window}"), count);
    }
    row("kept, and in quarantine with the reason", v.set_aside);
    heading("poison", "times");
    row("quarantined", v.poisoned);
    heading("slowest", "ms");
    row(
        "from SIGTERM under load to exit",
        total.stopped_in.as_millis(),
    );
    row("from calm to all stored", total.drained_in.as_millis());
    if crate::round::faketime().is_none() {
        println!("\nno clock was shifted: libfaketime is not installed");
    }
    for problem in &total.problems {
        println!("problem: {problem}");
    }
}
