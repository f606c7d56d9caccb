//! An application that keeps an audit trail: start-up, and a few requests.

use std::error::Error;
use std::time::Duration;

use audit_diesel::{Actor, AuditContext, AuditEvent, Auditor, Consumer, Outcome, Source, audited};
use chrono::Utc;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::{APP_MIGRATIONS, Conn, Pool, trail};
use crate::models::{NewUser, User};
use crate::schema::quickstart_users::{self as users, dsl};

pub(crate) fn run(pool: Pool, auditor: Auditor) -> Result<(), Box<dyn Error>> {
    let conn = &mut *pool.get()?;
    conn.run_pending_migrations(APP_MIGRATIONS)
        .map_err(|error| error as Box<dyn Error>)?;
    conn.run_pending_migrations(trail::MIGRATIONS)
        .map_err(|error| error as Box<dyn Error>)?;
    let consumer = Consumer::builder(auditor.queue(), pool.clone()).spawn()?;

    let started = Utc::now();
    let acme = AuditContext::default().organization("acme");
    acme.scope(|| requests(conn, &auditor))?;

    consumer.flush()?;
    let records = trail::in_organization_since("acme", started).load(conn)?;
    crate::print::table(&records);
    auditor.shutdown(Duration::from_secs(5))?;
    consumer.stop()?;
    Ok(())
}

fn requests(conn: &mut Conn, auditor: &Auditor) -> Result<(), Box<dyn Error>> {
    let visitor = AuditContext::new(Actor::anonymous())
        .source(Source::Web)
        .ip_text("192.0.2.7")?;
    let ada: User = visitor.scope(|| {
        let new = NewUser {
            email: "ada@example.com",
            api_token: "t0p-s3cret",
        };
        audited::insert_into(users::table)
            .values(new)
            .get_result(conn)
    })?;

    let admin = AuditContext::new(Actor::user("1"))
        .source(Source::Api)
        .request_id("req-2");
    admin.scope(|| {
        // A role change.
        audited::update(&ada)
            .set((
                dsl::role.eq("admin"),
                dsl::updated_at.eq(Utc::now().naive_utc()),
            ))
            .execute(conn)?;
        // A new token: that it changed is recorded, and never the token.
        audited::update(&ada)
            .set(dsl::api_token.eq("n3w-s3cret"))
            .execute(conn)?;
        // `updated_at` alone makes no record.
        audited::update(&ada)
            .set(dsl::updated_at.eq(Utc::now().naive_utc()))
            .execute(conn)
    })?;

    AuditContext::new(Actor::service("import"))
        .source(Source::Job)
        .scope(|| {
            let team = [
                NewUser {
                    email: "bob@example.com",
                    api_token: "b",
                },
                NewUser {
                    email: "eve@example.com",
                    api_token: "e",
                },
            ];
            audited::insert_into(users::table)
                .values(&team)
                .execute(conn)?;
            // One statement, a record for each row that changed.
            audited::update(users::table.filter(dsl::role.eq("member")))
                .set(dsl::role.eq("viewer"))
                .execute(conn)
        })?;

    // A transaction that is rolled back leaves no record.
    let undone = admin.scope(|| {
        conn.transaction(|conn| {
            audited::delete(users::table).execute(conn)?;
            Err::<(), _>(diesel::result::Error::RollbackTransaction)
        })
    });
    assert_eq!(undone, Err(diesel::result::Error::RollbackTransaction));

    visitor.scope(|| {
        auditor.record(
            AuditEvent::new("login.failed")
                .resource("users", ada.id)
                .outcome(Outcome::Failure)
                .with("reason", "wrong password"),
        )
    })?;

    admin.scope(|| audited::delete(&ada).execute(conn))?;
    Ok(())
}
