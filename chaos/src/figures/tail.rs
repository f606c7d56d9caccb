//! A power cut takes the end of what Redis wrote: the file is cut at each offset of its last
//! block, and Redis started twice. What was acknowledged after the cut has to be there.

use audit_diesel::{Payload, Queue, RedisQueue};
use audit_tests::{LONG, RedisServer};

use crate::args::Args;
use crate::servers::append_only_file;

use super::{line, record};

const KEY: &str = "audit:queue:tail";

/// What was written last when the power went.
#[derive(Debug, Clone, Copy)]
enum Last {
    Push,
    Acknowledgement,
}

pub fn run(args: &Args) -> bool {
    cut(args.or("tail-step", 1))
}

/// Cuts at every `step`th offset.
pub fn cut(step: usize) -> bool {
    let mut good = true;
    for last in [Last::Push, Last::Acknowledgement] {
        let (cuts, lost) = cut_everywhere(last, step);
        line(
            &format!("Redis cut off in its last {last:?}: offsets, each started twice"),
            cuts,
        );
        line("  acknowledged after the cut and lost, or torn", lost);
        good &= lost == 0;
    }
    good
}

fn cut_everywhere(last: Last, step: usize) -> (usize, usize) {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let queue = RedisQueue::builder(server.url()).key(KEY);
    let queue = queue.io_timeout(LONG).build().expect("a Redis queue");
    let push = |numbers: std::ops::Range<usize>| {
        let payloads: Vec<_> = numbers.map(payload).collect();
        queue.push(&payloads).expect("a push");
    };
    push(0..3);
    push(3..5);
    let file = append_only_file(&server);
    if matches!(last, Last::Push) {
        acknowledge(&queue, 2);
    }
    let before = std::fs::read(&file).expect("the file").len();
    let expected = list(&server);
    match last {
        Last::Push => push(5..7),
        Last::Acknowledgement => acknowledge(&queue, 2),
    }
    let whole = list(&server);
    server.kill9();
    let bytes = std::fs::read(&file).expect("the file");
    let (mut cuts, mut lost) = (0, 0);
    for end in (before..=bytes.len()).step_by(step) {
        std::fs::write(&file, &bytes[..end]).expect("a shorter file");
        server.restart();
        queue.push(&[payload(100)]).expect("Redis takes more");
        server.kill9();
        server.restart();
        let mut should = if end == bytes.len() {
            whole.clone()
        } else {
            expected.clone()
        };
        should.push(payload(100).as_bytes().to_vec());
        cuts += 1;
        if list(&server) != should {
            lost += 1;
            eprintln!("{last:?} cut at {end} of {before}..{}", bytes.len());
        }
        server.kill9();
    }
    (cuts, lost)
}

fn acknowledge(queue: &RedisQueue, payloads: usize) {
    let batch = queue.peek(payloads).expect("a batch");
    assert_eq!(queue.ack(&batch).expect("an acknowledgement"), payloads);
}

/// Always the same bytes for the same number.
fn payload(number: usize) -> Payload {
    let mut record = record(number);
    record.id = uuid::Uuid::from_u128(number as u128);
    record.occurred_at = 0;
    record.encode().expect("a payload")
}

fn list(server: &RedisServer) -> Vec<Vec<u8>> {
    let mut range = redis::cmd("LRANGE");
    range.arg(KEY).arg(0).arg(-1);
    range.query(&mut server.connection()).expect("the list")
}
