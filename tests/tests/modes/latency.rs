use audit_diesel::{Auditor, Delivery, MemoryQueue, audited};
use audit_tests::app::{NewAccount, accounts};
use diesel::prelude::*;
use std::time::Instant;

use crate::prepared::setup::{Conn, Setup, builder};

#[test]
#[ignore = "a measurement"]
fn latency() {
    let setup = Setup::new();
    let url = setup.app.guard.url();
    let folder = tempfile::tempdir().unwrap();
    let modes: [(&str, Option<Auditor>); 5] = [
        ("plain", None),
        ("after_commit memory", Some(Auditor::builder().queue(MemoryQueue::new()).build().unwrap())),
        ("after_commit journal", Some(Auditor::builder().journal(folder.path().join("a")).build().unwrap())),
        ("prepared", Some(builder(&url, &folder.path().join("b")).build().unwrap())),
        ("transactional", Some(Auditor::builder().delivery(Delivery::Transactional).build().unwrap())),
    ];
    let mut conns: Vec<(&str, bool, Conn)> = modes.iter().map(|(name, auditor)| {
        let mut conn = setup.app.guard.connection();
        if let Some(auditor) = auditor { auditor.attach(&mut conn); }
        (*name, auditor.is_some(), conn)
    }).collect();
    for inside in [false, true] {
        let mut times = vec![Vec::new(); 5];
        for round in 0..3000 {
            for (i, (name, is_audited, conn)) in conns.iter_mut().enumerate() {
                if round == 0 && !inside {
                    diesel::insert_into(accounts::table).values(NewAccount::new(name)).execute(conn).unwrap();
                }
                let target = || accounts::table.filter(accounts::id.eq(i as i32 + 1));
                let set = accounts::balance.eq(accounts::balance + 1);
                let mut run = |conn: &mut Conn| if *is_audited {
                    audited::update(target()).set(set).execute(conn)
                } else {
                    diesel::update(target()).set(set).execute(conn)
                };
                let started = Instant::now();
                let n = if inside { conn.transaction(|c| run(c)) } else { run(conn) };
                times[i].push(started.elapsed());
                assert_eq!(n.unwrap(), 1);
            }
        }
        let median = |v: &mut Vec<std::time::Duration>| { v.drain(..500); v.sort(); v[v.len() / 2].as_nanos() as f64 / 1000.0 };
        let p: Vec<f64> = times.iter_mut().map(median).collect();
        for (i, (name, ..)) in conns.iter().enumerate() {
            println!("inside={inside} {name}: {:.0} us, x{:.2}", p[i], p[i] / p[0]);
        }
    }
}
