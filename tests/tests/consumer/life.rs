use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use audit_diesel::{ConsumerError, FlushError, MemoryQueue, Queue};
use audit_tests::{Call, Hooked, LONG, flush_fails, wait_until};

use super::app;
use super::helpers::*;

#[test]
fn stopping_is_safe_before_any_work_and_twice() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    consumer.stop().unwrap();
    assert!(!consumer.stats().running);
    consumer.stop().unwrap();
    queue.push(&payloads(3)).unwrap();
    assert_eq!(consumer.flush(), Err(FlushError::Stopped));
    assert!(stored(&app).is_empty());
    assert_eq!(queue.len().unwrap(), 3, "what is in the queue stays there");
}

#[test]
fn dropping_the_handle_stops_it() {
    let app = app();
    let peeks = Arc::new(AtomicU32::new(0));
    let counted = peeks.clone();
    let hooked = Hooked::new(MemoryQueue::new(), move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let often = Duration::from_millis(1);
    let consumer = builder(&app, hooked.clone())
        .interval(often)
        .spawn()
        .unwrap();
    wait_until("a look", LONG, || peeks.load(Ordering::SeqCst) > 3);
    drop(consumer);
    drop(hooked);
    // The thread held the queue, and with it the hook.
    assert_eq!(Arc::strong_count(&peeks), 1);
}

#[test]
fn stopping_is_bounded_where_the_queue_hangs() {
    let app = app();
    let hang = Arc::new((Mutex::new(true), Condvar::new()));
    let hung = hang.clone();
    let entered = Arc::new(AtomicU32::new(0));
    let inside = entered.clone();
    let hooked = Hooked::new(MemoryQueue::new(), move |call| {
        if let Call::Peek(_) = call {
            inside.fetch_add(1, Ordering::SeqCst);
            let held = hung.0.lock().unwrap();
            drop(hung.1.wait_while(held, |hang| *hang).unwrap());
        }
        Ok(())
    });
    let consumer = consumer(&app, hooked);
    wait_until("the peek", LONG, || entered.load(Ordering::SeqCst) > 0);
    // It hangs until the test says otherwise.
    consumer.stop().unwrap_err();
    *hang.0.lock().unwrap() = false;
    hang.1.notify_all();
    consumer.stop().unwrap();
}

#[test]
fn a_panic_is_seen_and_it_goes_on() {
    let app = app();
    let panicked = AtomicU32::new(0);
    let queue = MemoryQueue::new();
    queue.push(&payloads(4)).unwrap();
    let hooked = Hooked::new(queue, move |call| {
        if let Call::Ack(_) = call
            && panicked.fetch_add(1, Ordering::SeqCst) == 0
        {
            panic!("of the test");
        }
        Ok(())
    });
    let consumer = consumer(&app, hooked);
    wait_until("the panic", LONG, || consumer.stats().panics == 1);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(4));
    let stats = consumer.stats();
    assert!(stats.running && stats.outages == 0, "{stats:?}");
    assert_eq!(stats.last_error, None);
}

#[test]
fn a_panic_is_named_until_it_is_over() {
    let app = app();
    let hooked = Hooked::new(MemoryQueue::new(), |call| match call {
        Call::Peek(_) => panic!("again and again"),
        _ => Ok(()),
    });
    let consumer = consumer(&app, hooked);
    flush_fails(&consumer, "again and again");
    assert!(consumer.stats().panics >= 1);
    consumer.stop().unwrap();
}

#[test]
fn a_queue_that_errs_is_tried_again() {
    let app = app();
    let queue = MemoryQueue::new();
    queue.push(&payloads(4)).unwrap();
    let calls = AtomicU32::new(0);
    // The first call is the builder's.
    let hooked = Hooked::new(queue, move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        1 | 3 | 6 => Hooked::<MemoryQueue>::away(),
        _ => Ok(()),
    });
    let consumer = consumer(&app, hooked);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(4));
    let stats = consumer.stats();
    assert!(stats.outages >= 1 && stats.panics == 0, "{stats:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let app = app();
    let build = || builder(&app, MemoryQueue::new());
    for (builder, named) in [
        (build().batch_size(0), "batch_size"),
        (build().batch_size(10_001), "batch_size"),
        (build().interval(Duration::ZERO), "interval"),
    ] {
        match builder.spawn().unwrap_err() {
            ConsumerError::OutOfRange { setting, .. } => assert_eq!(setting, named),
            other => panic!("{other}"),
        }
    }
    build().batch_size(10_000).spawn().unwrap();
}

#[test]
fn an_interval_without_end_is_fine() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone())
        .interval(Duration::MAX)
        .spawn()
        .unwrap();
    queue.push(&payloads(1)).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(1));
}
