use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use audit_diesel::{FlushError, MemoryQueue, Queue};
use audit_tests::{Call, Hooked, LONG, flush_fails, wait_until};

use super::app;
use super::helpers::*;

#[test]
fn what_was_pushed_before_a_flush_is_stored_after_it() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone()).batch_size(7).spawn().unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let (queue, consumer, app) = (&queue, &consumer, &app);
            scope.spawn(move || {
                for round in 0..5 {
                    let name = format!("w{writer}.{round}");
                    queue.push(&[payload(&name)]).unwrap();
                    queue.push(&payloads(10)).unwrap();
                    consumer.flush().unwrap();
                    assert!(stored(app).contains(&name), "{name}");
                }
            });
        }
    });
    assert_eq!(stored(&app).len(), 4 * 5 * 11);
}

/// Three consumers share the work of a stream that does not end, so none of them sees the queue
/// empty, or takes away by itself what it waits for.
#[test]
fn a_flush_ends_although_others_do_the_work_and_more_comes() {
    let app = app();
    let queue = MemoryQueue::new();
    let often = Duration::from_millis(1);
    let consumers = [(); 3].map(|()| {
        let builder = builder(&app, queue.clone()).batch_size(10);
        builder.interval(often).spawn().unwrap()
    });
    let (end, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::SeqCst) {
                if queue.len().unwrap() < 200 {
                    queue.push(&payloads(20)).unwrap();
                    pushed.fetch_add(20, Ordering::SeqCst);
                }
            }
        });
        for round in 0..6 {
            let name = format!("flush.{round}");
            queue.push(&[payload(&name)]).unwrap();
            consumers[round % 3].flush_within(LONG).unwrap();
            assert!(stored(&app).contains(&name), "{name}");
        }
        end.store(true, Ordering::SeqCst);
    });
    consumers[0].flush().unwrap();
    assert_eq!(stored(&app).len(), pushed.into_inner() + 6);
}

#[test]
fn a_flush_times_out_with_the_reason_and_works_again_later() {
    let app = app();
    let away = std::sync::Arc::new(AtomicBool::new(true));
    let gone = away.clone();
    let hooked = Hooked::new(MemoryQueue::new(), move |call| match call {
        Call::Peek(_) if gone.load(Ordering::SeqCst) => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    hooked.push(&payloads(3)).unwrap();
    let consumer = consumer(&app, hooked);
    flush_fails(&consumer, "the test says so");
    away.store(false, Ordering::SeqCst);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(3));
}

/// After many failures the back-off is long; nobody who flushes waits for its end.
#[test]
fn a_flush_does_not_wait_for_a_long_back_off() {
    let app = app();
    let away = std::sync::Arc::new(AtomicBool::new(true));
    let gone = away.clone();
    let hooked = Hooked::new(MemoryQueue::new(), move |call| match call {
        Call::Peek(_) if gone.load(Ordering::SeqCst) => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let consumer = consumer(&app, hooked);
    // Each flush tries at once, so the failures add up soon.
    while consumer.stats().outages < 9 {
        consumer.flush_within(Duration::from_millis(1)).unwrap_err();
    }
    thread::scope(|scope| {
        let flush = scope.spawn(|| consumer.flush_within(LONG));
        let before = consumer.stats().outages;
        wait_until("a try", LONG, || consumer.stats().outages > before);
        away.store(false, Ordering::SeqCst);
        flush.join().unwrap().unwrap();
    });
}

#[test]
fn a_stop_ends_a_flush() {
    let app = app();
    let hooked = Hooked::new(MemoryQueue::new(), |call| match call {
        Call::Peek(_) => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let consumer = consumer(&app, hooked);
    thread::scope(|scope| {
        let flush = scope.spawn(|| consumer.flush());
        wait_until("a try", LONG, || consumer.stats().outages > 0);
        consumer.stop().unwrap();
        assert_eq!(flush.join().unwrap(), Err(FlushError::Stopped));
    });
}
