//! Connections to Redis: timed, kept while they are idle, replaced when they broke. There are no
//! threads behind them: each is made by whoever needs it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult,
};

use super::Fault;
use super::fault;
use super::tls::{self, Tls};

/// Where Redis is and how to log in.
pub(super) struct Server {
    client: Client,
    /// Name, password, database. Kept apart from the client because redis-rs reports every
    /// refusal at log-in as a wrong password, also "too many clients".
    login: RedisConnectionInfo,
    connect_timeout: Duration,
    io_timeout: Duration,
}

impl Server {
    pub(super) fn parse(
        url: &str,
        tls: &Tls,
        connect_timeout: Duration,
        io_timeout: Duration,
    ) -> Result<Self, Fault> {
        let info = parse_url(url, cfg!(feature = "redis-tls"))?;
        let login = info.redis_settings().clone();
        let anonymous = RedisConnectionInfo::default().set_skip_set_lib_name();
        let client = tls.client(info.set_redis_settings(anonymous))?;
        Ok(Self {
            client,
            login,
            connect_timeout,
            io_timeout,
        })
    }

    /// Host and port, or the socket's path, and the database where it is not the first one.
    pub(super) fn address(&self) -> String {
        let address = self.client.get_connection_info().addr();
        match self.login.db() {
            0 => address.to_string(),
            db => format!("{address}/{db}"),
        }
    }

    fn connect(&self) -> Result<Connection, Fault> {
        let mut connection = self
            .client
            .get_connection_with_timeout(self.connect_timeout)
            .map_err(|error| tls::fault(&error, self.connect_timeout))?;
        let timed = connection
            .set_read_timeout(Some(self.io_timeout))
            .and_then(|()| connection.set_write_timeout(Some(self.io_timeout)));
        timed.map_err(|error| self.fault(&error))?;
        self.shake_hands(&mut connection)?;
        self.log_in(&mut connection)?;
        Ok(connection)
    }

    /// redis-rs sets TLS up with the first command, and a server may refuse us after its first
    /// answer. A command of its own tells that from errors of what comes later.
    fn shake_hands(&self, connection: &mut Connection) -> Result<(), Fault> {
        let address = self.client.get_connection_info().addr();
        if !matches!(address, ConnectionAddr::TcpTls { .. }) {
            return Ok(());
        }
        match redis::cmd("PING").exec(connection) {
            // It asks for the log-in first, or its user may not do that.
            Err(error) if fault::is_answer(&error) => Ok(()),
            answered => answered.map_err(|error| tls::fault_of_handshake(&error, self.io_timeout)),
        }
    }

    fn log_in(&self, connection: &mut Connection) -> Result<(), Fault> {
        if let Some(password) = self.login.password() {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = self.login.username() {
                auth.arg(user);
            }
            auth.arg(password);
            auth.exec(connection)
                .map_err(|error| fault::of_log_in(&error, self.io_timeout))?;
        }
        if self.login.db() != 0 {
            redis::cmd("SELECT")
                .arg(self.login.db())
                .exec(connection)
                .map_err(|error| fault::of_select(&error, self.io_timeout))?;
        }
        Ok(())
    }

    fn fault(&self, error: &redis::RedisError) -> Fault {
        fault::of_use(error, self.io_timeout)
    }
}

/// `with_tls` is whether this build can speak it.
fn parse_url(url: &str, with_tls: bool) -> Result<ConnectionInfo, Fault> {
    if asks_for_tls(url) {
        if !with_tls {
            return Err(Fault::wrong(
                "its URL asks for TLS: enable the feature `redis-tls` of audit-diesel in your \
                 Cargo.toml",
            ));
        }
        if url.ends_with("#insecure") {
            return Err(Fault::wrong(
                "its URL ends with #insecure, and certificates are always checked: leave that out, \
                 and give the certificate of the server's authority to `.tls_ca(pem)`",
            ));
        }
    }
    // An unescaped `#` cuts the password short, and what is left of it would count as the host.
    if url.contains('#') {
        return Err(malformed());
    }
    url.into_connection_info().map_err(|_| malformed())
}

fn asks_for_tls(url: &str) -> bool {
    let scheme = url.trim_start().split(':').next().unwrap_or_default();
    let asks = |tls: &&str| scheme.eq_ignore_ascii_case(tls);
    ["rediss", "valkeys"].iter().any(asks)
}

fn malformed() -> Fault {
    Fault::wrong(
        "its URL is malformed: it has to be redis://[user:password@]host[:port][/database], or \
         rediss:// for TLS, with special characters of the password percent-encoded",
    )
}

/// A wait that no clock can hold is as good as one of years.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 30);

/// So often one call is made again for a process that was suspended in it.
const INTERRUPTIONS: usize = 10;

/// What Redis gets for entries of hundreds of megabytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bounded number of connections to one server.
pub(super) struct Links {
    server: Server,
    size: u32,
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Default)]
struct Places {
    taken: u32,
    idle: Vec<Connection>,
}

impl Links {
    pub(super) fn new(server: Server, size: u32) -> Self {
        Self {
            server,
            size,
            places: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// A place for a connection, for which it waits as long as for a new connection.
    fn place(&self) -> Result<Place<'_>, Fault> {
        let started = Instant::now();
        let mut places = self.places();
        while places.taken >= self.size {
            let left = self
                .server
                .connect_timeout
                .saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(Fault::away("all of its connections are busy"));
            }
            let waited = self.freed.wait_timeout(places, left.min(LONGEST_WAIT));
            places = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        places.taken += 1;
        Ok(Place {
            links: self,
            connection: places.idle.pop(),
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`run`](Self::run), for work that a server which answers may take long for.
    pub(super) fn run_patiently<T>(
        &self,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Fault> {
        let usual = self.server.io_timeout;
        self.run(|connection| {
            connection.set_read_timeout(Some(usual.max(PATIENCE)))?;
            let done = work(connection);
            connection.set_read_timeout(Some(usual))?;
            done
        })
    }

    /// Does the work, and does it again on a new connection if the one at hand turns out to be
    /// closed, or if this process was suspended meanwhile: so a restart of Redis fails nobody's
    /// call, nor does a debugger. The work must be such that doing it twice is harmless.
    pub(super) fn run<T>(
        &self,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Fault> {
        let mut place = self.place()?;
        if let Some(connection) = place.connection.take() {
            match place.attempt(connection, &work) {
                Err(error) if error.is_connection_dropped() || fault::is_interruption(&error) => {}
                outcome => return outcome.map_err(|error| self.server.fault(&error)),
            }
        }
        for _ in 0..INTERRUPTIONS {
            match place.attempt(self.server.connect()?, &work) {
                Err(error) if fault::is_interruption(&error) => {}
                outcome => return outcome.map_err(|error| self.server.fault(&error)),
            }
        }
        Err(Fault::away("this process is suspended again and again"))
    }
}

/// The right to have one of the connections.
struct Place<'a> {
    links: &'a Links,
    connection: Option<Connection>,
}

impl Place<'_> {
    /// Puts the connection back only if it is known to be at the end of an answer. After an I/O
    /// error, or a panic, it may be anywhere.
    fn attempt<T>(
        &mut self,
        mut connection: Connection,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let outcome = work(&mut connection);
        if outcome.as_ref().err().is_none_or(fault::is_answer) {
            self.connection = Some(connection);
        }
        outcome
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.links.places();
        places.taken -= 1;
        places.idle.extend(self.connection.take());
        drop(places);
        self.links.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_the_error_names_it() {
        for url in [
            "rediss://ada:s3cr3t@127.0.0.1/",
            "REDISS://127.0.0.1",
            "valkeys://127.0.0.1/#insecure",
            "rediss:",
        ] {
            let refused = parse_url(url, false);
            let names_it = |reason: &str| {
                reason.contains("`redis-tls` of audit-diesel") && !reason.contains("s3cr3t")
            };
            assert!(
                matches!(&refused, Err(Fault::Wrong(reason)) if names_it(reason)),
                "{refused:?}"
            );
        }
        assert!(parse_url("redis://rediss/", false).is_ok());
    }
}
