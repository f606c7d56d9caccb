//! The batch before is acknowledged and the next one is made ready while one is stored.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_diesel::{Consumer, MemoryQueue, Queue, QueueError};
use audit_tests::{Call, Hooked, wait_until};

use super::app;
use super::helpers::*;

const BATCH: usize = 10;

/// Stores 100 records, of batches of ten, from a queue that asks `hook` first.
fn drained(hook: impl Fn(Call) -> Result<(), QueueError> + Send + Sync + 'static) -> Consumer {
    let (app, queue) = (app(), MemoryQueue::new());
    queue.push(&payloads(100)).unwrap();
    let hooked = Hooked::new(queue.clone(), hook);
    let consumer = builder(&app, hooked).batch_size(BATCH).spawn().unwrap();
    // A flush may be asked for before the first look, and then everything is one pass.
    consumer.flush_within(Duration::from_secs(60)).unwrap();
    assert_eq!(stored(&app), names(100));
    assert!(queue.is_empty().unwrap());
    consumer
}

#[test]
fn the_next_batch_is_not_peeked_anew() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let consumer = drained(move |call| {
        seen.lock().unwrap().push(call);
        Ok(())
    });
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.duplicates), (100, 0));
    consumer.stop().unwrap();
    let calls = calls.lock().unwrap();
    let count = |of: Call| calls.iter().filter(|call| **call == of).count();
    assert_eq!(count(Call::PeekBehind(BATCH)), 10);
    assert_eq!(count(Call::Ack(BATCH)), 10);
    // The first batch, and what is left behind the last; once more where the flush comes late.
    assert!((2..=3).contains(&count(Call::Peek(BATCH))), "{calls:?}");
}

#[test]
fn what_cannot_be_looked_at_ahead_is_no_outage() {
    let consumer = drained(|call| match call {
        Call::PeekBehind(_) => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.duplicates), (100, 0));
    assert_eq!((stats.outages, stats.panics), (0, 0));
}

/// The acknowledgement is done in another thread than the rest.
#[test]
fn an_acknowledgement_that_fails_beside_a_delivery_is_a_redelivery() {
    let acks = AtomicUsize::new(0);
    let consumer = drained(move |call| match call {
        Call::Ack(_) if acks.fetch_add(1, Ordering::SeqCst) == 4 => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let stats = consumer.stats();
    assert_eq!((stats.outages, stats.panics), (1, 0));
    // The batch whose acknowledgement failed, and the one that was stored beside it.
    assert_eq!(stats.duplicates, 2 * BATCH as u64, "{stats:?}");
}

#[test]
fn a_panic_beside_a_delivery_is_seen() {
    let looks = AtomicUsize::new(0);
    let consumer = drained(move |call| {
        if let Call::PeekBehind(_) = call {
            assert_ne!(looks.fetch_add(1, Ordering::SeqCst), 3, "of the test");
        }
        Ok(())
    });
    let stats = consumer.stats();
    assert_eq!((stats.panics, stats.outages), (1, 0), "{stats:?}");
    assert!(stats.running);
}

#[test]
fn what_others_take_away_is_not_missed() {
    for moment in [Call::PeekBehind(BATCH), Call::Ack(BATCH)] {
        others_take_away(moment, MemoryQueue::new());
    }
}

/// Another consumer takes a part of a batch away at its third such moment.
pub fn others_take_away(moment: Call, queue: impl Queue + Clone) {
    let app = app();
    queue.push(&payloads(100)).unwrap();
    let (other, pool, times) = (queue.clone(), app.pool.clone(), AtomicUsize::new(0));
    let hooked = Hooked::new(queue.clone(), move |call| {
        if call == moment && times.fetch_add(1, Ordering::SeqCst) == 2 {
            // Nobody acknowledges what is not stored.
            wait_until("the third batch", Duration::from_secs(60), || {
                rows(&mut pool.get().unwrap()) >= 30
            });
            assert_eq!(other.ack(&other.peek(7).unwrap()).unwrap(), 7);
        }
        Ok(())
    });
    let consumer = builder(&app, hooked).batch_size(BATCH).spawn().unwrap();
    consumer.flush_within(Duration::from_secs(60)).unwrap();
    assert_eq!(stored(&app), names(100));
    assert!(queue.is_empty().unwrap());
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.panics), (100, 0), "{stats:?}");
    assert!(stats.duplicates > 0, "{stats:?}");
}

/// Batches that are large enough to be looked for before they fail.
#[test]
fn large_batches_that_are_redelivered_are_stored_once() {
    let (app, queue) = (app(), MemoryQueue::new());
    let consumer = builder(&app, queue.clone())
        .batch_size(200)
        .spawn()
        .unwrap();
    let all = payloads(1_000);
    let mut duplicates = 0;
    // What is stored already: nothing, all, the beginning, the end, the middle.
    for (range, known) in [
        (0..200, 0),
        (0..200, 200),
        (100..300, 100),
        (500..600, 0),
        (400..600, 100),
        (750..800, 0),
        (700..900, 50),
    ] {
        queue.push(&all[range]).unwrap();
        consumer.flush_within(Duration::from_secs(60)).unwrap();
        duplicates += known;
        assert_eq!(consumer.stats().duplicates, duplicates);
    }
    // Twice in one batch, behind what is stored.
    queue
        .push(&[&all[800..900], &all[900..950], &all[900..950]].concat())
        .unwrap();
    queue.push(&all).unwrap();
    consumer.flush_within(Duration::from_secs(60)).unwrap();
    assert_eq!(stored(&app), names(1_000));
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.quarantined), (1_000, 0));
}
