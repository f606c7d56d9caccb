//! A process that consumes: the library's consumer, or the plain one that is the control.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit_diesel::Consumer;

use crate::args::Args;
use crate::breaks;
use crate::control;
use crate::writer::stop_on_sigterm;

/// Consumes until it is told to stop or killed.
pub fn run(args: &Args) {
    let stop = stop_on_sigterm();
    let batch = args.or("batch", 100);
    if args.has("control") {
        return control::run(args, batch, &stop);
    }
    let (queue, pool) = breaks::equip(args);
    // PostgreSQL may be away at the start: an application would be restarted by its supervisor.
    let consumer = loop {
        let builder = Consumer::builder(Arc::clone(&queue), pool.clone())
            .batch_size(batch)
            .interval(Duration::from_millis(20));
        match builder.spawn() {
            Ok(consumer) => break consumer,
            Err(_) if !stop.load(Ordering::Relaxed) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(_) => return,
        }
    };
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stopped = consumer.stop();
    println!(
        "{}: {:?} {stopped:?}",
        args.required("name"),
        consumer.stats()
    );
}
