//! The queue as a Redis list: RPUSH at the tail, peek and acknowledge at the head.

mod checks;
mod control;
mod fault;
mod links;
mod owner;
mod reading;
mod scripts;
#[cfg(feature = "redis-tls")]
mod tls;
#[cfg(not(feature = "redis-tls"))]
#[path = "redis/no_tls.rs"]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, QueueOwner, Warning};
use redis::{Cmd, Connection, RedisResult, Value};
use sha1_smol::Sha1;

use super::{Fault, MAX_RECORD_BYTES, PEEK_BYTES, total_bytes};
use crate::failpoint::failpoint;
use links::{Links, Server};
use owner::Ownership;
use scripts::Scripts;
use tls::Tls;

/// What one RPUSH carries at most, so that a call stays well within its time-out and within what
/// Redis buffers for a client.
const PUSH_BYTES: usize = 8 << 20;

/// A script can pass on some 8,000 arguments.
const PUSH_PAYLOADS: usize = 4_000;

/// What a record may grow by after it was measured: marks in front of it, and its signature.
const MARKS_BYTES: usize = 1 << 10;

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
    ownership: Arc<Ownership>,
    owner_key: String,
}

impl RedisQueue {
    /// A queue at `redis://[user:password@]host[:port][/database]`, or at
    /// `unix:///path/to/socket`. Special characters of a password have to be percent-encoded.
    ///
    /// With the feature `redis-tls`, `rediss://` speaks TLS. The server's certificate is always
    /// checked: by the system's authorities, or by those that were given to
    #[cfg_attr(feature = "redis-tls", doc = "[`tls_ca`](RedisQueueBuilder::tls_ca).")]
    #[cfg_attr(not(feature = "redis-tls"), doc = "`tls_ca`.")]
    pub fn builder(url: impl Into<String>) -> RedisQueueBuilder {
        RedisQueueBuilder {
            url: url.into(),
            key: "audit:queue".to_owned(),
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(2),
            max_record_bytes: MAX_RECORD_BYTES,
            pool_size: 8,
            tls: Tls::default(),
            owner: None,
            ownership: None,
        }
    }

    /// Names the audit database that the records are for.
    pub(crate) fn name_owner(&self, name: &str) -> Result<(), QueueError> {
        let named = self.0.ownership.name_it(name);
        named.map_err(|other| self.contradiction(&other, name))
    }

    fn contradiction(&self, other: &str, name: &str) -> QueueError {
        Fault::wrong(format!(
            "it was said to carry the records of the audit database \"{other}\", and now of \
             \"{name}\": what confirms records and what stores them has to be the same database, and \
             each audit database needs a queue of its own"
        ))
        .of(self.name())
    }

    /// Does something as the list's owner, where that is known, and makes the list its own where it
    /// is nobody's. Where it is not known yet, the list has to be nobody's.
    fn as_owner<T>(&self, run: impl Fn(&str) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(owner) = self.0.ownership.name() else {
            return run("").map_err(|fault| match fault {
                Fault::Unclaimed => Fault::away(unknown(&self.0.owner_key)),
                fault => fault,
            });
        };
        match run(&owner) {
            Err(Fault::Unclaimed) if self.claim_as(&owner)? => run(&owner),
            // A full server has to get empty all the same.
            Err(Fault::Unclaimed) => run(""),
            done => done,
        }
    }

    /// Makes sure that the list belongs to this owner; `false` where the server is too full to
    /// note it.
    fn claim_as(&self, owner: &str) -> Result<bool, Fault> {
        let Inner {
            links,
            scripts,
            ownership,
            owner_key,
            ..
        } = &*self.0;
        let before = ownership.claimed();
        let mut claim = scripts.claim.key(owner_key);
        let claim = claim.arg(owner).arg(before.as_deref().unwrap_or_default());
        let found: String = links.run(|connection| claim.invoke(connection))?;
        if found == owner {
            ownership.note_claim(owner);
        } else if !found.is_empty() {
            return Err(Fault::wrong(foreign(owner_key, &found, owner)));
        }
        Ok(!found.is_empty())
    }

    fn run<T>(&self, work: impl Fn(&mut Connection) -> RedisResult<T>) -> Result<T, QueueError> {
        let Inner { links, name, .. } = &*self.0;
        links.run(work).map_err(|fault| fault.of(name.clone()))
    }

    fn look(&self, from: usize, limit: usize) -> Result<Batch, QueueError> {
        if limit == 0 {
            return Ok(Batch::default());
        }
        let Inner {
            key,
            owner_key,
            scripts,
            longest,
            ..
        } = &*self.0;
        let entries: Vec<Value> = self.read_patiently(|connection, owner| {
            let mut script = scripts.peek.key(key);
            let script = script.key(owner_key).arg(limit).arg(PEEK_BYTES).arg(from);
            let script = script.arg(longest).arg(owner);
            script.invoke(connection)
        })?;
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
        work: impl Fn(&mut Connection, &str) -> RedisResult<T>,
    ) -> Result<T, QueueError> {
        let Inner { links, slow, .. } = &*self.0;
        let is_slow = slow.load(Relaxed);
        if is_slow {
            self.len()?;
        }
        let done = self.as_owner(|owner| match is_slow {
            true => links.run_patiently(|connection| work(connection, owner)),
            false => links.run(|connection| work(connection, owner)),
        });
        slow.store(matches!(done, Err(Fault::Late(_))), Relaxed);
        done.map_err(|fault| fault.of(self.name()))
    }

    fn rpush(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let Inner {
            links,
            key,
            owner_key,
            scripts,
            ..
        } = &*self.0;
        failpoint!("redis.before-push");
        let pushed = self.as_owner(|owner| {
            let mut script = scripts.push.key(key);
            script.key(owner_key).arg(owner);
            for payload in payloads {
                script.arg(payload.as_bytes());
            }
            links.run(|connection| script.invoke::<()>(connection))
        });
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
            .arg(self.0.longest);
        self.read_patiently(|connection, _| script.invoke(connection))
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

    fn wants_owner(&self) -> bool {
        self.0.ownership.name().is_none()
    }

    fn belong_to(&self, owner: &QueueOwner) -> Result<(), QueueError> {
        let learned = self.0.ownership.learn(owner);
        learned.map_err(|other| self.contradiction(&other, &owner.name))
    }

    fn claim(&self) -> Result<(), QueueError> {
        match self.0.ownership.name() {
            Some(owner) => {
                let claimed = self.claim_as(&owner);
                claimed.map(drop).map_err(|fault| fault.of(self.name()))
            }
            None => Ok(()),
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
        let mut warnings = Vec::new();
        if let Err(QueueError::Misconfigured { reason, .. }) = self.claim() {
            let advice = "until then nothing is carried on from here, and nothing is stored";
            warnings.push(Warning::new(self.name(), reason, advice));
        }
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
            Ok(server) => warnings.extend(server.warnings(&self.0.name)),
            // It may not be asked, or the next push says what is wrong.
            Err(QueueError::Misconfigured { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(warnings)
    }
}

/// What is wrong where a list is somebody's, and nobody has said who this is.
fn unknown(owner_key: &str) -> String {
    format!(
        "its records belong to the audit database that the key `{owner_key}` there names, and it is not \
         known yet which one these are for: it is as soon as the auditor is attached to a connection, or \
         a consumer starts; a process that has neither says `.owner(name)`, and so do all that use \
         this list"
    )
}

/// What is wrong with a list that is another one's.
fn foreign(owner_key: &str, found: &str, owner: &str) -> String {
    let found: String = found.chars().take(100).collect();
    format!(
        "its records belong to another audit database: the key `{owner_key}` there says \"{found}\", \
         and this is \"{owner}\". Two applications need two lists: give one of them a key of its own, \
         `RedisQueue::builder(url).key(…)`. Where the database was moved, restored or upgraded and \
         the list is its own, remove the key `{owner_key}`; where the trail is in another database \
         than the audited tables, say `.owner(name)` on both sides"
    )
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
    tls: Tls,
    owner: Option<String>,
    /// Of another queue of the same list.
    ownership: Option<Arc<Ownership>>,
}

impl fmt::Debug for RedisQueueBuilder {
    /// Leaves out the URL, which may hold a password, and what was given for TLS.
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

    /// Names the audit database that the records are for.
    ///
    /// A list belongs to one audit database: the first who uses it, and knows its database, writes
    /// the name to the key `KEY:owner`, and whoever comes with another name is refused. Unless said,
    /// the name is PostgreSQL's identifier of the server with the number of the database, or a random
    /// one in a SQLite file. A copy of the server's files, or of that file, has the same one, so
    /// name the copy.
    ///
    /// Who does not know its database yet is refused as well where the list is somebody's, until it
    /// does. A process that only records events has no connection to learn it from: name the owner there,
    /// and in all that use the list.
    pub fn owner(mut self, name: impl Into<String>) -> Self {
        self.owner = Some(name.into());
        self
    }

    /// Shares what is known of the list's owner with another queue.
    pub(crate) fn sharing(mut self, other: &RedisQueue) -> Self {
        self.ownership = Some(Arc::clone(&other.0.ownership));
        self
    }

    /// How many connections there may be; they are made when needed. Default: 8.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// The authorities whose certificates a server may have, instead of the system's: the text of a
    /// PEM file with one or several certificates. For a URL that begins with `rediss://`.
    ///
    /// The system's authorities have to be readable all the same. A certificate that is renewed by the
    /// same authority needs no restart of the application.
    ///
    /// ```no_run
    /// use audit_diesel::RedisQueue;
    ///
    /// let queue = RedisQueue::builder("rediss://redis.example.org/")
    ///     .tls_ca(std::fs::read("/etc/redis/ca.pem")?)
    ///     .tls_client_certificate(
    ///         std::fs::read("/etc/app/redis.pem")?,
    ///         std::fs::read("/etc/app/redis.key")?,
    ///     )
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "redis-tls")]
    pub fn tls_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.ca = Some(pem.into());
        self
    }

    /// What is shown to a server that asks its clients for certificates: the texts of two PEM files,
    /// a certificate (with those between it and the authority behind it) and its private key, which
    /// is not encrypted. For an example see [`tls_ca`](Self::tls_ca).
    #[cfg(feature = "redis-tls")]
    pub fn tls_client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.identity = Some(tls::Identity {
            certificate: certificate_pem.into(),
            key: key_pem.into(),
        });
        self
    }

    /// The queue. Nothing is connected yet: an application starts without Redis.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where the URL or a setting cannot be right: also where the URL
    /// asks for TLS without the feature `redis-tls`, a PEM cannot be read, or a key belongs to another
    /// certificate. It shows neither the URL nor anything of a PEM.
    ///
    /// With TLS, rustls' provider `ring` is installed for the process where there is none. An
    /// application that wants another one installs it before.
    pub fn build(self) -> Result<RedisQueue, QueueError> {
        self.check()
            .and_then(|()| {
                let Self { url, tls, .. } = &self;
                Server::parse(url, tls, self.connect_timeout, self.io_timeout)
            })
            .map(|server| self.connect_later(server))
            .map_err(|fault| fault.of(format!("the Redis list {}", self.key)))
    }

    fn check(&self) -> Result<(), Fault> {
        if self.key.is_empty() {
            return Err(Fault::wrong("its key is empty"));
        }
        let is_no_name = |name: &String| name.is_empty() || name.len() > 100;
        if self.owner.as_ref().is_some_and(is_no_name) {
            return Err(Fault::wrong("its owner's name has to have 1 to 100 bytes"));
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
            ownership: self
                .ownership
                .clone()
                .unwrap_or_else(|| Arc::new(Ownership::named(self.owner.clone()))),
            owner_key: format!("{}:owner", self.key),
        }))
    }
}
