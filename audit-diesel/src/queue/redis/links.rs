//! Connections to Redis: timed, pooled, replaced when they broke.

use std::convert::Infallible;
use std::time::Duration;

use r2d2::{ManageConnection, NopErrorHandler, Pool};
use redis::{
    Client, Connection, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
};

use super::Fault;
use super::fault;

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
        connect_timeout: Duration,
        io_timeout: Duration,
    ) -> Result<Self, Fault> {
        let info = parse_url(url)?;
        let login = info.redis_settings().clone();
        let anonymous = RedisConnectionInfo::default().set_skip_set_lib_name();
        let client = Client::open(info.set_redis_settings(anonymous))
            .map_err(|error| fault::of(&error, io_timeout))?;
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
            .map_err(|error| fault::of(&error, self.connect_timeout))?;
        self.log_in(&mut connection)?;
        Ok(connection)
    }

    fn log_in(&self, connection: &mut Connection) -> Result<(), Fault> {
        let timed = connection
            .set_read_timeout(Some(self.io_timeout))
            .and_then(|()| connection.set_write_timeout(Some(self.io_timeout)));
        timed.map_err(|error| self.fault(&error))?;
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

fn parse_url(url: &str) -> Result<ConnectionInfo, Fault> {
    let tls = url.starts_with("rediss:") || url.starts_with("valkeys:");
    // An unescaped `#` cuts the password short, and what is left of it would count as the host.
    if url.contains('#') && !tls {
        return Err(malformed());
    }
    url.into_connection_info().map_err(|_| {
        if tls {
            Fault::wrong(
                "its URL asks for TLS, or is malformed: for TLS enable the feature `tls-rustls` \
                 of the crate `redis` in your Cargo.toml",
            )
        } else {
            malformed()
        }
    })
}

fn malformed() -> Fault {
    Fault::wrong(
        "its URL is malformed: it has to be redis://[user:password@]host[:port][/database], with \
         special characters of the password percent-encoded",
    )
}

/// r2d2 panics where such a wait would end after the clock does.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 30);

/// So often one call is made again for a process that was suspended in it.
const INTERRUPTIONS: usize = 10;

/// What Redis gets for entries of hundreds of megabytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bounded number of connections to one server.
pub(super) struct Links {
    server: Server,
    places: Pool<Places>,
}

impl Links {
    pub(super) fn new(server: Server, size: u32) -> Self {
        let places = Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(server.connect_timeout.min(LONGEST_WAIT))
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Places);
        Self { server, places }
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
        let free = self.places.get();
        let mut place = free.map_err(|_| Fault::away("all of its connections are busy"))?;
        if let Some(connection) = place.0.take() {
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

/// A place in the pool. It connects on the caller's thread, when there is something to do: r2d2's
/// own way retries in the background until its time-out, and tells only then, and only in words,
/// that Redis refused.
#[derive(Default)]
pub(super) struct Place(Option<Connection>);

impl Place {
    /// Puts the connection back only if it is known to be at the end of an answer. After an I/O
    /// error, or a panic, it may be anywhere.
    fn attempt<T>(
        &mut self,
        mut connection: Connection,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let outcome = work(&mut connection);
        if outcome.as_ref().err().is_none_or(fault::is_answer) {
            self.0 = Some(connection);
        }
        outcome
    }
}

struct Places;

impl ManageConnection for Places {
    type Connection = Place;
    type Error = Infallible;

    fn connect(&self) -> Result<Place, Infallible> {
        Ok(Place::default())
    }

    fn is_valid(&self, _: &mut Place) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Place) -> bool {
        false
    }
}
