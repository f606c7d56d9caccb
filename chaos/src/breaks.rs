//! The design broken on purpose, from outside of the library: the suite has to catch each.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_diesel::{Batch, Payload, Queue, QueueError, Record, RedisQueue};
use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel::r2d2::{self, ConnectionManager, CustomizeConnection, Pool};
use uuid::Uuid;

use crate::args::Args;
use crate::writer::{PgPool, pool, redis_queue};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// A batch is taken out of the queue when it is looked at.
    Pop,
    /// A batch is acknowledged while its transaction may still fail.
    AcknowledgeEarly,
    /// Records leave before their transaction is committed.
    PublishEarly,
    /// A redelivered record is a new one.
    NoDedupe,
    /// The journal forgets a record when Redis has taken it.
    TrimAtPush,
}

impl Break {
    /// The names on the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("pop", Self::Pop),
        ("acknowledge-early", Self::AcknowledgeEarly),
        ("publish-early", Self::PublishEarly),
        ("no-dedupe", Self::NoDedupe),
        ("trim-at-push", Self::TrimAtPush),
    ];

    /// What the command line asks for.
    pub fn of(args: &Args) -> Option<Self> {
        args.text("break").map(Self::named)
    }

    /// The one of that name.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("--break {name}: unknown")).1
    }

    /// Whether the journal forgets what Redis has taken: one that asks the database delivers again
    /// whatever a broken consumer loses, and nothing would be seen.
    pub fn is_without_confirmation(self) -> bool {
        self != Self::PublishEarly
    }

    /// Whether Redis is wiped: only where that is not the reason of what is lost.
    pub fn is_with_wipes(self) -> bool {
        matches!(self, Self::PublishEarly | Self::TrimAtPush)
    }
}

/// What a consumer works with, broken or not.
pub fn equip(args: &Args) -> (Arc<dyn Queue>, PgPool) {
    let queue = redis_queue(args.required("redis"), args.required("key"));
    let url = args.required("postgres");
    let how = match Break::of(args) {
        Some(how @ (Break::Pop | Break::AcknowledgeEarly | Break::NoDedupe)) => how,
        _ => return (Arc::new(queue), pool(url, 3, None)),
    };
    let broken = Broken(Arc::new(Inner {
        queue,
        how,
        peeked: Mutex::default(),
    }));
    let pool = match how {
        Break::AcknowledgeEarly => Pool::builder()
            .max_size(3)
            .min_idle(Some(0))
            .connection_timeout(Duration::from_secs(2))
            .connection_customizer(Box::new(AtCommit(broken.clone())))
            .build_unchecked(ConnectionManager::new(url)),
        _ => pool(url, 3, None),
    };
    (Arc::new(broken), pool)
}

#[derive(Clone)]
struct Broken(Arc<Inner>);

struct Inner {
    queue: RedisQueue,
    how: Break,
    /// The batch as it stands in the queue.
    peeked: Mutex<Batch>,
}

impl Broken {
    fn peeked(&self) -> Batch {
        self.0.peeked.lock().expect("nobody panics with it").clone()
    }
}

/// The same record under another id.
fn renamed(payload: &Payload) -> Payload {
    let Ok(mut record) = Record::decode(payload.as_bytes()) else {
        return payload.clone();
    };
    record.id = Uuid::now_v7();
    record.encode().unwrap_or_else(|_| payload.clone())
}

impl Queue for Broken {
    fn name(&self) -> String {
        self.0.queue.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.0.queue.push(payloads)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        let mut batch = self.0.queue.peek(limit)?;
        *self.0.peeked.lock().expect("nobody panics with it") = batch.clone();
        if self.0.how == Break::Pop {
            self.0.queue.ack(&batch)?;
        }
        if self.0.how == Break::NoDedupe {
            batch.payloads = batch.payloads.iter().map(renamed).collect();
        }
        Ok(batch)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        match self.0.how {
            Break::NoDedupe => self.0.queue.ack(&self.peeked()),
            _ => Ok(batch.len()),
        }
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.0.queue.len()
    }
}

/// Acknowledges when the storing transaction is about to be committed.
#[derive(Clone)]
struct AtCommit(Broken);

impl fmt::Debug for AtCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtCommit")
    }
}

impl CustomizeConnection<PgConnection, r2d2::Error> for AtCommit {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), r2d2::Error> {
        let broken = self.0.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event
                && query.to_string() == "COMMIT"
            {
                let _ = broken.0.queue.ack(&broken.peeked());
            }
        });
        Ok(())
    }
}
