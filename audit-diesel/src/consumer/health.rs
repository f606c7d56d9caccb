//! What somebody should look at about a queue and the thread that works on it.

use audit_core::{Queue, Warning, WorkerState, WorkerStatus};

/// What a queue warns of. That it cannot be asked now is a warning like the others.
pub(crate) fn warnings_of(queue: &dyn Queue) -> Vec<Warning> {
    queue.warnings().unwrap_or_else(|error| {
        let problem = format!("cannot be asked how it is set up: {error}");
        let advice = "records wait until it can be reached; see that it runs, and that its address and \
                      password are right";
        vec![Warning::new(queue.name(), problem, advice)]
    })
}

/// A thread that does not work.
pub(crate) fn of_worker(worker: &WorkerStatus) -> Option<Warning> {
    let advice = match worker.state {
        WorkerState::Running => return None,
        WorkerState::Stopped => "restart the application: its records wait until then",
        _ => "records wait meanwhile; it goes on by itself once this is mended",
    };
    let said = worker.to_string();
    let problem = said.strip_prefix(worker.name).unwrap_or(&said).trim_start();
    Some(Warning::new(
        format!("the thread {}", worker.name),
        problem,
        advice,
    ))
}
