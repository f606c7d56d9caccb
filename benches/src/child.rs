//! Work in a process of its own, whose peak of memory can be read.

use std::process::Command;
use std::time::Instant;

use audit_diesel::Consumer;

use crate::world::World;
use crate::{Fallible, bulk};

/// What the process says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) peak_kib: f64,
    pub(crate) seconds: f64,
}

/// Runs `work` of that size in a new process on this world.
pub(crate) fn run(world: &World, work: &str, size: usize) -> Fallible<Outcome> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", work, &size.to_string(), world.database()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(peak_kib)), Some(Ok(seconds))) if output.status.success() => {
            Ok(Outcome { peak_kib, seconds })
        }
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// The other end of [`run`].
pub(crate) fn main(arguments: &[String]) -> Fallible<()> {
    let [work, size, database] = arguments else {
        return Err("--child WORK SIZE DATABASE".into());
    };
    let world = World::existing(database)?;
    let size: usize = size.parse()?;
    let start = Instant::now();
    match work.as_str() {
        "bulk" => {
            let auditor = world.auditor(&format!("child-{}", std::process::id()))?;
            bulk::audited(&mut world.audited(&auditor)?, size as i64);
        }
        "consume" => {
            let queue = std::sync::Arc::new(world.list("backlog")?);
            let consumer = Consumer::builder(queue, world.pool()?).spawn()?;
            consumer.flush()?;
            consumer.stop()?;
        }
        _ => return Err(format!("no such work: {work}").into()),
    }
    println!("{} {}", peak_kib()?, start.elapsed().as_secs_f64());
    Ok(())
}

fn peak_kib() -> Fallible<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmHWM in /proc/self/status")?.parse()?)
}
