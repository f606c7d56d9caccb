//! One bad record in a thousand: each is quarantined, and no good one with it.

use std::time::Duration;

use audit_diesel::Payload;

use crate::args::Args;
use crate::servers::Servers;

use super::{Consuming, count, fill, line, record, until_empty};

const EVERY: usize = 1_000;

pub fn run(args: &Args) -> bool {
    let records: usize = args.or("poison", 100_000);
    let mut servers = Servers::start();
    let database = servers.database();
    fill(&servers, records, |number| {
        // Not always at the same place of a batch.
        let place = (number / EVERY * 7) % EVERY;
        match number % EVERY == place {
            true => poison(number),
            false => record(number).encode().expect("a payload"),
        }
    });
    let _consumer = Consuming::start(&servers, &database, 1_000);
    let took = until_empty(&servers, Duration::from_secs(300));
    let conn = &mut database.connection();
    let (stored, bad) = (count(conn, "audit_logs"), count(conn, "audit_quarantine"));
    let expected = records.div_ceil(EVERY);
    line("records, of which one in 1,000 cannot be stored", records);
    line("stored", stored);
    line("quarantined", bad);
    line("seconds", format!("{:.1}", took.as_secs_f64()));
    bad as usize == expected && stored as usize == records - expected
}

/// Each kind of what the database or the decoder refuses.
fn poison(number: usize) -> Payload {
    let good = record(number).encode().expect("a payload");
    let text = String::from_utf8_lossy(good.as_bytes()).into_owned();
    let note = "something of ordinary length";
    let bytes = match number / EVERY % 6 {
        0 => format!("no JSON at all, {number}").into_bytes(),
        1 => text.replace(note, "\\u0000").into_bytes(),
        2 => text.replace("\"v\":1", "\"v\":4000000").into_bytes(),
        3 => text.as_bytes()[..text.len() / 2].to_vec(),
        4 => text
            .replace(&format!("\"rows\":{number}"), "\"rows\":1e400000")
            .into_bytes(),
        _ => [
            &text.as_bytes()[..20],
            &[0xff, 0xfe],
            &text.as_bytes()[20..],
        ]
        .concat(),
    };
    Payload::from(bytes)
}
