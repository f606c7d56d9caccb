//! The queue as a Redis list: RPUSH at the tail, peek and acknowledge at the head.

mod checks;
mod control;
mod fault;
mod links;
mod reading;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, Warning};
use redis::{Cmd, Connection, RedisResult, Value};
use sha1_smol::Sha1;

use super::{Fault, MAX_RECORD_BYTES, PEEK_BYTES, total_bytes};
use crate::failpoint::failpoint;
use links::{Links, Server};
use scripts::Scripts;

/// What one RPUSH carries at most, so that a call stays well within its time-out and within what
/// Redis buffers for a client.
const PUSH_BYTES: usize = 8 << 20;

/// Redis refuses a command of more than 1,048,576 arguments.
const PUSH_PAYLOADS: usize = 1_000_000;

/// What a record may grow by after it was measured: marks in front of it, and its signature.
const MARKS_BYTES: usize = 1 << 10;

/// What is read of an entry that is too long to be a record.
const BEGINNING_BYTES: usize = 64 << 10;

/// How a record begins, up to its id.
const RECORD: &[u8] = br#"{"v":1,"id":""#;

/// Where in a record its id is, and as much of the name before it as makes this 40 bytes.
const ID: std::ops::Range<usize> = 9..49;

/// A queue in a Redis list, shared by every process that names the same server and key.
///
/// Clones share the same connections. It needs Redis 6.0 or later, with persistence: what Redis
/// forgets is gone, unless a journal stands in front of it. From 6.0.6 on (`LPOS`) such a journal
/// gives a record up as soon as it is stored, and before that once the list is seen empty.
///
/// Every wait is bounded: for a free connection and for a new one by the connect time-out, for
/// an answer by the I/O time-out. A connection that Redis closed while it was idle is replaced
/// without an error.
///
/// A push goes out as a single RPUSH of up to 8 MiB, which Redis does wholly or not at all. A
/// larger push takes several, in order; where a later one fails, the first ones stay, and pushing
/// all again makes duplicates. So does a push that timed out and is repeated. Records carry ids,
/// and duplicates are stored once.
///
/// ```no_run
/// use std::time::Duration;
/// use audit_diesel::RedisQueue;
///
/// let queue = RedisQueue::builder("redis://127.0.0.1/")
///     .io_timeout(Duration::from_millis(500))
///     .build()?;
/// # Ok::<(), audit_diesel::QueueError>(())
/// ```
#[derive(Clone)]
pub struct RedisQueue(Arc<Inner>);

struct Inner {
    name: String,
    key: String,
    max_record_bytes: usize,
    links: Links,
    scripts: Scripts,
    /// The longest entry that is read as a whole.
    longest: usize,
    /// Whether the latest look at entries has run into the time-out.
    slow: AtomicBool,
}

impl RedisQueue {
    /// A queue at `redis://[user:password@]host[:port][/database]`, or at
    /// `unix:///path/to/socket`. Special characters of a password have to be percent-encoded.
    pub fn builder(url: impl Into<String>) -> RedisQueueBuilder {
        RedisQueueBuilder {
            url: url.into(),
            key: "audit:queue".to_owned(),
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(2),
            max_record_bytes: MAX_RECORD_BYTES,
            pool_size: 8,
        }
    }

    fn run<T>(&self, work: impl Fn(&mut Connection) -> RedisResult<T>) -> Result<T, QueueError> {
        let Inner { links, name, .. } = &*self.0;
        links.run(work).map_err(|fault| fault.of(name.clone()))
    }

    fn look(&self, from: usize, limit: usize) -> Result<Batch, QueueError> {
        if limit == 0 {
            return Ok(Batch::default());
        }
        let mut script = self.0.scripts.peek.key(&self.0.key);
        let script = script
            .arg(limit)
            .arg(PEEK_BYTES)
            .arg(from)
            .arg(self.0.longest)
            .arg(BEGINNING_BYTES);
        let entries: Vec<Value> = self.read_patiently(|connection| script.invoke(connection))?;
        let payloads = entries.into_iter().map(reading::entry);
        let payloads: Option<_> = payloads.collect();
        Ok(Batch {
            payloads: payloads.ok_or_else(|| {
                Fault::wrong("what answers there does not speak like Redis").of(self.name())
            })?,
            receipt: 0,
        })
    }

    /// Does work for which Redis may have to look at entries of any size. Where it has run into the
    /// time-out the time before, and the server answers something else in time, it gets longer.
    fn read_patiently<T>(
        &self,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, QueueError> {
        let Inner { links, slow, .. } = &*self.0;
        let done = if slow.load(Relaxed) {
            self.len()?;
            links.run_patiently(work)
        } else {
            links.run(work)
        };
        slow.store(matches!(done, Err(Fault::Late(_))), Relaxed);
        done.map_err(|fault| fault.of(self.name()))
    }

    fn rpush(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let mut command = redis::cmd("RPUSH");
        command.arg(&self.0.key);
        for payload in payloads {
            command.arg(payload.as_bytes());
        }
        failpoint!("redis.before-push");
        let pushed = self.0.links.run(|connection| command.exec(connection));
        pushed.map_err(|fault| fault.while_sending(self.name()))?;
        failpoint!("redis.pushed");
        Ok(())
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisQueue").field(&self.0.name).finish()
    }
}

impl Queue for RedisQueue {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        total_bytes(payloads, self.0.max_record_bytes, || self.name())?;
        chunks(payloads).try_for_each(|chunk| self.rpush(chunk))
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.look(0, limit)
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        let Some(last) = batch.payloads.last() else {
            return Ok(Batch::default());
        };
        let mut behind = self.look(batch.len() - 1, limit.saturating_add(1))?;
        // A list does not tell what was taken from its head meanwhile: the batch's end does.
        match behind.payloads.first() == Some(last) {
            true => behind.payloads.remove(0),
            false => return Ok(Batch::default()),
        };
        Ok(behind)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let mut script = self.0.scripts.ack.key(&self.0.key);
        let script = script
            .arg(batch.len())
            .arg(marks(&batch.payloads))
            .arg(self.0.longest)
            .arg(BEGINNING_BYTES);
        self.read_patiently(|connection| script.invoke(connection))
    }

    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        // They were within the bound when they came, and must not be refused for their mark.
        let marked: Vec<_> = payloads.iter().map(Payload::put_off).collect();
        chunks(&marked).try_for_each(|chunk| self.rpush(chunk))
    }

    fn len(&self) -> Result<u64, QueueError> {
        let mut command = Cmd::new();
        command.arg("LLEN").arg(&self.0.key);
        self.run(|connection| command.query(connection))
    }

    fn may_hold(&self, payload: &Payload) -> Result<bool, QueueError> {
        let mut find = redis::cmd("LPOS");
        find.arg(&self.0.key).arg(payload.as_bytes());
        let found = self.0.links.run(|connection| {
            match find.query::<Option<u64>>(connection) {
                // Redis before 6.0.6 has no such command, and a user may not be allowed it.
                Err(error) if fault::is_no_such_command(&error) => Ok(None),
                found => found.map(|found| Some(found.is_some())),
            }
        });
        match found.map_err(|fault| fault.while_sending(self.name()))? {
            Some(found) => Ok(found),
            None => self.is_empty().map(|empty| !empty),
        }
    }

    fn control(
        &self,
        bytes: usize,
        at_least: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), QueueError> {
        let control = control::Pings::new(bytes, at_least, is_stopped);
        let held = self.0.links.run(|connection| control.send(connection));
        held.map_err(|fault| fault.while_sending(self.name()))
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        let info = redis::cmd("INFO");
        let mut save = redis::cmd("CONFIG");
        save.arg("GET").arg("save");
        let server = self.run(|connection| {
            let info = info.query(connection)?;
            // Hosted servers do not tell.
            let save: Option<(String, String)> = save.query(connection).ok();
            let save = save.map(|(_, value)| value);
            Ok(checks::Server { info, save })
        });
        match server {
            Ok(server) => Ok(server.warnings(&self.0.name)),
            // It may not be asked, or the next push says what is wrong.
            Err(QueueError::Misconfigured { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// What the acknowledging script compares.
fn marks(payloads: &[Payload]) -> Vec<u8> {
    let mut marks = Vec::with_capacity(payloads.len() * ID.len());
    for payload in payloads {
        let bytes = payload.as_bytes();
        match bytes.get(ID) {
            Some(id)
                if bytes.len() > ID.end
                    && bytes.starts_with(RECORD)
                    && payload.whole().is_none() =>
            {
                marks.extend_from_slice(id);
            }
            _ => {
                let mut digest = Sha1::from(bytes);
                if let Some(whole) = payload.whole() {
                    digest.update(whole.bytes.to_string().as_bytes());
                }
                marks.extend_from_slice(digest.digest().to_string().as_bytes());
            }
        }
    }
    marks
}

/// Cuts a push into what one RPUSH carries.
fn chunks(mut rest: &[Payload]) -> impl Iterator<Item = &[Payload]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(PUSH_PAYLOADS).take_while(|payload| {
            bytes += payload.as_bytes().len();
            bytes <= PUSH_BYTES
        });
        let taken = fitting.count().max(1).min(rest.len());
        let (chunk, left) = rest.split_at(taken);
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Sets up a [`RedisQueue`].
#[derive(Clone)]
#[must_use]
pub struct RedisQueueBuilder {
    url: String,
    key: String,
    connect_timeout: Duration,
    io_timeout: Duration,
    max_record_bytes: usize,
    pool_size: u32,
}

impl fmt::Debug for RedisQueueBuilder {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueueBuilder")
            .field("key", &self.key)
            .field("connect_timeout", &self.connect_timeout)
            .field("io_timeout", &self.io_timeout)
            .field("max_record_bytes", &self.max_record_bytes)
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}

impl RedisQueueBuilder {
    /// The list's key. Default: `audit:queue`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// How long to wait for a free connection, and for each address of the host when connecting.
    /// Default: 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long to wait for Redis to answer, or to take more data. Default: 2 s.
    pub fn io_timeout(mut self, timeout: Duration) -> Self {
        self.io_timeout = timeout;
        self
    }

    /// The bound of one record, in bytes. Default: 1 MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// How many connections there may be; they are made when needed. Default: 8.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// The queue. Nothing is connected yet: an application starts without Redis.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where the URL or a setting cannot be right. It does not show
    /// the URL.
    pub fn build(self) -> Result<RedisQueue, QueueError> {
        self.check()
            .and_then(|()| Server::parse(&self.url, self.connect_timeout, self.io_timeout))
            .map(|server| self.connect_later(server))
            .map_err(|fault| fault.of(format!("the Redis list {}", self.key)))
    }

    fn check(&self) -> Result<(), Fault> {
        if self.key.is_empty() {
            return Err(Fault::wrong("its key is empty"));
        }
        if self.connect_timeout.is_zero() || self.io_timeout.is_zero() {
            return Err(Fault::wrong("a time-out of zero never lets it answer"));
        }
        if self.pool_size == 0 {
            return Err(Fault::wrong("a pool of no connections cannot reach it"));
        }
        Ok(())
    }

    fn connect_later(&self, server: Server) -> RedisQueue {
        RedisQueue(Arc::new(Inner {
            name: format!("the Redis list {} at {}", self.key, server.address()),
            key: self.key.clone(),
            max_record_bytes: self.max_record_bytes,
            links: Links::new(server, self.pool_size),
            scripts: Scripts::default(),
            longest: PEEK_BYTES.max(self.max_record_bytes.saturating_add(MARKS_BYTES)),
            slow: AtomicBool::new(false),
        }))
    }
}
