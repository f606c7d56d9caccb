use audit_diesel::{Actor, AuditContext, Auditor, audited};
use audit_tests::app::{Account, accounts, postgres::*};
use diesel::prelude::*;
use std::time::Instant;
fn main() {
    let app = app();
    let dir = tempfile::tempdir().unwrap();
    let auditor = Auditor::builder()
        .redis(std::env::var("AUDIT_TEST_REDIS_URL").unwrap())
        .journal(dir.path().join("j.db"))
        .build()
        .unwrap();
    let mut a = PgConnection::establish(&app.guard.url()).unwrap();
    let mut p = PgConnection::establish(&app.guard.url()).unwrap();
    auditor.attach(&mut a);
    for i in 0..1000 {
        diesel::sql_query(format!("insert into accounts(email) values('u{i}')"))
            .execute(&mut p)
            .unwrap();
    }
    let ctx = AuditContext::new(Actor::user("1"));
    let (mut tp, mut ta, mut td) = (vec![], vec![], vec![]);
    for i in 0..6000 {
        let id = i % 1000 + 1;
        let t = Instant::now();
        diesel::update(accounts::table.find(id))
            .set(accounts::role.eq(format!("r{i}")))
            .execute(&mut p)
            .unwrap();
        tp.push(t.elapsed().as_nanos());
        let t = Instant::now();
        ctx.scope(|| {
            audited::update(accounts::table.find(id))
                .set(accounts::role.eq(format!("s{i}")))
                .execute(&mut a)
        })
        .unwrap();
        ta.push(t.elapsed().as_nanos());
        let t = Instant::now();
        p.transaction(|p| {
            let _o: Account = accounts::table
                .find(id)
                .select(Account::as_select())
                .for_update()
                .first(p)?;
            diesel::update(accounts::table.find(id))
                .set(accounts::role.eq(format!("r{i}")))
                .get_result::<Account>(p)
        })
        .unwrap();
        td.push(t.elapsed().as_nanos());
    }
    for (n, t) in [
        ("plain", &mut tp),
        ("audited+journal", &mut ta),
        ("select for update", &mut td),
    ] {
        t.drain(..500);
        t.sort();
        println!(
            "{n}: p50 {} us p99 {} us",
            t[t.len() / 2] / 1000,
            t[t.len() * 99 / 100] / 1000
        );
    }
    println!("{:?}", auditor.stats());
}
