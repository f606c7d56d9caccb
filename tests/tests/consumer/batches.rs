use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_diesel::{MemoryQueue, Queue};
use audit_tests::{Call, Hooked, LONG, wait_until};
use diesel::prelude::*;

use super::helpers::*;
use super::{app, trail};

#[test]
fn a_batch_is_bounded_and_acknowledged_after_its_commit() {
    let app = app();
    let queue = MemoryQueue::new();
    queue.push(&payloads(25)).unwrap();
    let (pool, seen) = (app.pool.clone(), Arc::new(Mutex::new(Vec::new())));
    let saw = seen.clone();
    let hooked = Hooked::new(queue, move |call| {
        match call {
            Call::Peek(limit) => assert_eq!(limit, 10),
            Call::Ack(batch) => saw
                .lock()
                .unwrap()
                .push((batch, rows(&mut pool.get().unwrap()))),
            _ => {}
        }
        Ok(())
    });
    let consumer = builder(&app, hooked).batch_size(10).spawn().unwrap();
    consumer.flush().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(),
        [10, 10, 5]
    );
    // The next batch may be stored by then, and never the one that is acknowledged not.
    let mut acknowledged = 0;
    for (batch, rows) in &*seen {
        acknowledged += *batch as i64;
        assert!(*rows >= acknowledged, "{seen:?}");
    }
    let stats = consumer.stats();
    assert_eq!((stats.batches, stats.stored, stats.panics), (3, 25, 0));
    assert_eq!(stored(&app), names(25));
}

#[test]
fn each_time_it_goes_on_until_the_queue_is_empty() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone())
        .batch_size(2)
        .interval(Duration::from_millis(30))
        .spawn()
        .unwrap();
    for round in 1..=3 {
        queue.push(&payloads(7)).unwrap();
        wait_until("all of it", LONG, || consumer.stats().stored == 7 * round);
    }
    assert!(queue.is_empty().unwrap());
    let stats = consumer.stats();
    assert!(stats.batches >= 12, "{stats:?}");
}

/// When the queue is peeked at, where each peek finds so many records; after a flush, if wanted.
fn peeks_at_intervals(interval: Duration, found: usize, flush: bool) {
    let app = app();
    let (queue, peeks) = (MemoryQueue::new(), Arc::new(Mutex::new(Vec::new())));
    let (pushes, times) = (queue.clone(), peeks.clone());
    let hooked = Hooked::new(queue, move |call| {
        if let Call::Peek(_) = call {
            times.lock().unwrap().push(std::time::Instant::now());
            pushes.push(&payloads(found)).unwrap();
        }
        Ok(())
    });
    let consumer = builder(&app, hooked).interval(interval).spawn().unwrap();
    if flush {
        wait_until("a pass", LONG, || !peeks.lock().unwrap().is_empty());
        consumer.flush_within(LONG).unwrap();
    }
    // One may have begun while somebody waited.
    let from = match flush {
        true => peeks.lock().unwrap().len() + 1,
        false => 0,
    };
    wait_until("some peeks", LONG, || {
        peeks.lock().unwrap().len() >= from + 4
    });
    let peeks = peeks.lock().unwrap();
    for pair in peeks[from..].windows(2) {
        assert!(pair[1] - pair[0] >= interval, "{pair:?}");
    }
}

#[test]
fn it_looks_at_the_queue_at_its_interval_only() {
    peeks_at_intervals(Duration::from_millis(100), 0, false);
}

/// Small batches cost as much as large ones.
#[test]
fn it_lets_records_gather_that_keep_coming() {
    peeks_at_intervals(Duration::from_millis(100), 3, false);
    peeks_at_intervals(Duration::from_millis(100), 3, true);
}

#[test]
fn a_redelivery_is_stored_once() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let all = payloads(20);
    queue.push(&all[..10]).unwrap();
    consumer.flush().unwrap();
    // The whole batch again, mixed with new ones, and twice in one batch.
    queue.push(&all[..10]).unwrap();
    consumer.flush().unwrap();
    queue.push(&all[5..15]).unwrap();
    consumer.flush().unwrap();
    queue.push(&[&all[15..], &all[15..]].concat()).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(20));
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.duplicates), (20, 10 + 5 + 5));
    assert!(quarantined(&app).is_empty());
}

#[test]
fn a_lost_acknowledgement_is_a_redelivery() {
    let app = app();
    let queue = MemoryQueue::new();
    queue.push(&payloads(5)).unwrap();
    let lost = AtomicBool::new(false);
    let hooked = Hooked::new(queue.clone(), move |call| match call {
        Call::Ack(_) if !lost.swap(true, Ordering::SeqCst) => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let consumer = consumer(&app, hooked);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(5));
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.duplicates, stats.outages), (0, 5, 1));
    assert!(queue.is_empty().unwrap());
}

#[test]
fn what_is_stored_is_a_beginning_of_what_was_pushed() {
    let app = app();
    let queue = MemoryQueue::new();
    queue.push(&payloads(12)).unwrap();
    let (pool, ends) = (app.pool.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = ends.clone();
    let hooked = Hooked::new(queue, move |call| {
        if let Call::Ack(_) = call {
            let conn = &mut pool.get().unwrap();
            let mut actions: Vec<String> = trail::audit_logs::table
                .select(trail::audit_logs::action)
                .load(conn)
                .unwrap();
            actions.sort_by_key(|action| action[2..].parse::<usize>().unwrap());
            seen.lock().unwrap().push(actions);
        }
        Ok(())
    });
    let consumer = builder(&app, hooked).batch_size(5).spawn().unwrap();
    consumer.flush().unwrap();
    let ends = ends.lock().unwrap();
    assert_eq!(ends.len(), 3);
    for (actions, length) in ends.iter().zip([5, 10, 12]) {
        assert!(actions.len() >= length, "{actions:?}");
        assert_eq!(*actions, names(actions.len()));
    }
}
