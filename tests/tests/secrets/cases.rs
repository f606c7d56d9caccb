use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::testing::TestAudit;
use audit_diesel::{
    Actor, AuditContext, AuditEvent, AuditLog, Auditor, AuditorBuilder, Consumer, GuardMode,
    Journal, Payload, QuarantinedRecord, RedisQueue, audited, exempt,
};
use audit_tests::{LONG, TestRedis};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use serde_json::json;

use super::{App, Conn, Vaults, app, trail, trail_of};
use crate::places::Places;
use crate::schema::vaults;
use crate::traces;
use crate::vault::{NewPassword, PLAIN, SCHEMA, SECRET, Vault};

use audit_diesel::AuditedSaveChangesDsl;

/// A vault as a statement returns it.
type Row = (
    i32,
    String,
    String,
    Option<String>,
    Vec<u8>,
    String,
    Option<String>,
);

fn settings(mode: GuardMode) -> AuditorBuilder {
    Auditor::builder().schema(&SCHEMA).guard_mode(mode)
}

fn context() -> AuditContext {
    AuditContext::new(Actor::user("42"))
        .with("endpoint", PLAIN)
        .with("api_key", format!("{SECRET}-in-context"))
        .with("iban", format!("{SECRET}-in-context"))
        .request_id(format!("Bearer {SECRET}"))
        .organization(format!("token={SECRET}"))
        .with("set-cookie", SECRET)
        .with("url", format!("https://app:{SECRET}@example.org"))
        .with(
            "headers",
            json!({"x-auth-token": SECRET, "deep": [{"iban": SECRET}]}),
        )
        .with(
            "request",
            json!({"raw": ["Cookie", SECRET, "iban", SECRET]}),
        )
        .with("dump", format!("[('cookie', '{SECRET}')]"))
}

fn event() -> AuditEvent {
    AuditEvent::new("login.failed")
        .resource("vaults", 1)
        .with("user", PLAIN)
        .with("password", format!("{SECRET}-in-event"))
        .with("note", format!("Login {{ password: \"{SECRET}\" }}"))
        .with(
            "payer",
            json!({"IBAN": SECRET, "cards": [{"card_number": SECRET}]}),
        )
}

/// Writes secrets in every way.
fn write_secrets(conn: &mut Conn, auditor: &Auditor, places: &mut Places) -> QueryResult<()> {
    let vault = Vault::new(1, 1);
    let insert = audited::insert_into(vaults::table).values(vault.clone());
    places.add_debug(&insert);
    insert.execute(conn)?;

    let update = audited::update(vaults::table.find(1)).set((
        vaults::name.eq(format!("{PLAIN}-new")),
        vaults::password.eq(format!("{SECRET}-password-2")),
        vaults::pin.eq(None::<String>),
        vaults::private_key.eq(format!("{SECRET}-key-2").into_bytes()),
        vaults::door_token.eq(format!("{SECRET}-door-2")),
    ));
    places.add_debug(&update);
    update.get_result::<Row>(conn)?;
    let found = audited::update(vaults::table).filter(vaults::payer_iban.eq(vault.payer_iban));
    places.add_debug(&found);
    found
        .set(vaults::pin.eq(format!("{SECRET}-pin-2")))
        .execute(conn)?;
    let changed = NewPassword {
        id: 1,
        password: format!("{SECRET}-password-3"),
    };
    let _: Row = changed.audited_save_changes(conn)?;

    // The database's error names the value, and so does Diesel's; it is not passed on.
    let mut twice = Vault::new(2, 2);
    twice.password = format!("{SECRET}-password-3");
    let refused = audited::insert_into(vaults::table)
        .values(&twice)
        .execute(conn);
    assert!(refused.is_err());
    let undone = conn.transaction(|conn| {
        audited::insert_into(vaults::table)
            .values(&Vault::new(5, 5))
            .execute(conn)?;
        auditor.record_in(conn, event()).unwrap();
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert_eq!(undone, Err(Error::RollbackTransaction));
    conn.transaction(|conn| {
        audited::insert_into(vaults::table)
            .values(&Vault::new(4, 4))
            .execute(conn)?;
        auditor.record_in(conn, event()).unwrap();
        QueryResult::Ok(())
    })?;
    auditor.record(event()).unwrap();

    let raw = format!("UPDATE vaults SET pin = '{SECRET}-raw'");
    conn.batch_execute(&raw)?;
    diesel::update(vaults::table)
        .set(vaults::payer_iban.eq(format!("{SECRET}-raw")))
        .execute(conn)?;
    let reason = format!("{PLAIN}: the server said authorization=\"{SECRET}\"");
    exempt(conn, &reason, |conn| conn.batch_execute(&raw))?;
    audited::delete(vaults::table.filter(vaults::pin.eq(format!("{SECRET}-raw")))).execute(conn)?;
    Ok(())
}

/// Runs it all through an auditor, and looks at what can be seen from outside.
fn run(app: &App, vaults: &Vaults, auditor: &Auditor, places: &mut Places) {
    let conn = &mut vaults.connection(app);
    auditor.attach(conn);
    context()
        .scope(|| write_secrets(conn, auditor, places))
        .unwrap();
    assert_eq!(auditor.stats().unaudited_writes, 2);
    assert_eq!(auditor.stats().failed, 0);
    places.add_debug(auditor);
    places.add_debug(&auditor.stats());
    let waiting = auditor.queue().peek(100).unwrap();
    assert_eq!(waiting.payloads.len(), 12);
    places.add_debug(&waiting);
    for payload in &waiting.payloads {
        places.add("record", payload.as_bytes());
    }
}

/// Stores what waits, and something that cannot be stored.
fn store(app: &App, auditor: &Auditor, places: &mut Places) {
    let waiting = auditor.queue().peek(100).unwrap();
    let text = String::from_utf8(waiting.payloads[1].as_bytes().to_vec()).unwrap();
    let newer = text.replacen("\"v\":1", "\"v\":99", 1);
    assert_ne!(newer, text);
    let cut = text[..text.len() / 2].to_owned();
    let broken = [
        Payload::from(newer.into_bytes()),
        Payload::from(cut.into_bytes()),
    ];
    auditor.queue().push(&broken).unwrap();
    let consumer = Consumer::builder(auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    places.add_debug(&consumer.stats());
    consumer.stop().unwrap();
}

fn look_at_messages(app: &App, vaults: &Vaults, places: &mut Places) {
    let conn = &mut vaults.connection(app);
    let bare = audited::insert_into(vaults::table)
        .values(Vault::new(1, 1))
        .execute(conn);
    places.add_error(&bare.unwrap_err());
    let strict = settings(GuardMode::Panic)
        .require_context()
        .max_record_bytes(200);
    let strict = TestAudit::of(strict);
    strict.auditor().attach(conn);
    let nobody = audited::insert_into(vaults::table)
        .values(Vault::new(1, 1))
        .execute(conn);
    places.add_error(&nobody.unwrap_err());
    context()
        .scope(|| strict.auditor().record(event()))
        .unwrap();
    for raw in [
        format!("UPDATE vaults SET pin = '{SECRET}', name = '{PLAIN}'"),
        format!("UPDATE vaults SET pin = = '{SECRET}'"),
    ] {
        let stopped = catch_unwind(AssertUnwindSafe(|| conn.batch_execute(&raw))).unwrap_err();
        let message = stopped.downcast_ref::<String>().unwrap();
        assert!(message.contains("`vaults`"), "{message}");
        places.add("guard message", message.as_str());
    }
}

#[test]
fn a_secret_is_nowhere() {
    traces::begin();
    let (app, mut places) = (app(), Places::default());
    let vaults = Vaults::new(&app);

    let memory = TestAudit::of(settings(GuardMode::Record));
    run(&app, &vaults, memory.auditor(), &mut places);
    places.add_debug(&memory);
    for record in memory.committed() {
        places.add("Debug output", format!("{record:?}"));
    }

    let redis = TestRedis::new();
    let list = RedisQueue::builder(redis.url())
        .key(redis.key())
        .io_timeout(LONG)
        .build()
        .unwrap();
    places.add_debug(&list);
    let through_redis = settings(GuardMode::Record)
        .redis_queue(list)
        .without_journal()
        .build()
        .unwrap();
    run(&app, &vaults, &through_redis, &mut places);
    let mut list = redis::cmd("LRANGE");
    let list: Vec<Vec<u8>> = list
        .arg(redis.key())
        .arg(0)
        .arg(-1)
        .query(&mut redis.connection())
        .unwrap();
    places.add("Redis", list.concat());
    store(&app, &through_redis, &mut places);

    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .open()
        .unwrap();
    places.add_debug(&journal);
    let through_journal = settings(GuardMode::Record)
        .journal_queue(journal)
        .build()
        .unwrap();
    run(&app, &vaults, &through_journal, &mut places);
    places.add_files(folder.path());
    store(&app, &through_journal, &mut places);
    places.add_files(folder.path());

    look_at_messages(&app, &vaults, &mut places);
    let conn = &mut app.pool.get().unwrap();
    let logs: Vec<AuditLog> = trail::audit_logs::table
        .select(AuditLog::as_select())
        .load(conn)
        .unwrap();
    assert_eq!(logs.len(), 24);
    places.add_debug(&logs);
    let quarantined: Vec<QuarantinedRecord> = trail::audit_quarantine::table
        .select(QuarantinedRecord::as_select())
        .load(conn)
        .unwrap();
    assert_eq!(quarantined.len(), 4);
    for record in &quarantined {
        places.add("quarantine", record.payload.clone());
    }
    places.add_debug(&quarantined);
    places.add("audit tables", trail_of(&app));
    places.add_debug(&(context(), event(), SCHEMA));
    places.add("traces", traces::so_far());

    for place in [
        "record",
        "Redis",
        "journal.db-wal",
        "quarantine",
        "audit tables",
        "Debug output",
    ] {
        places.assert_would_be_found_in(place);
    }
    let traced = traces::so_far();
    assert!(
        traced.contains("an unaudited write") && traced.contains("quarantine"),
        "{traced}"
    );
    places.assert_no_secret();
}
