//! What breaks, in an order that the seed says.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

use audit_diesel::{Journal, Payload, Queue};
use uuid::Uuid;

use crate::fleet::{Fleet, Role};
use crate::random::Random;
use crate::servers::{ORPHANED_FOR_MS, Servers, append_only_file};
use audit_tests::{Network, Proxy};

/// A fault of the surroundings; processes die beside it all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillWriter,
    KillConsumer,
    StopWriter,
    StopConsumer,
    RestartRedis,
    KillRedis,
    SilentRedis,
    FullRedis,
    WipeRedis,
    CutRedisFile,
    ImmediatePostgres,
    TerminateBackends,
    MissingTable,
    BlackHole,
    HalfOpen,
    Refused,
    CutReply,
    PushedThreeTimes,
    ShiftedClock,
    Poison,
    RefusingTable,
    SkewedDatabase,
    OrphanedLock,
}

use Fault::*;

const ALL: [Fault; 23] = [
    KillWriter,
    KillConsumer,
    StopWriter,
    StopConsumer,
    RestartRedis,
    KillRedis,
    SilentRedis,
    FullRedis,
    WipeRedis,
    CutRedisFile,
    ImmediatePostgres,
    TerminateBackends,
    MissingTable,
    BlackHole,
    HalfOpen,
    Refused,
    CutReply,
    PushedThreeTimes,
    ShiftedClock,
    Poison,
    RefusingTable,
    SkewedDatabase,
    OrphanedLock,
];

/// The faults of a round, each with its own numbers.
pub fn schedule(random: &mut Random, wipes: bool) -> Vec<Fault> {
    let mut faults: Vec<Fault> = ALL
        .into_iter()
        .filter(|f| wipes || ![WipeRedis, CutRedisFile].contains(f))
        .collect();
    // The cheap ones come twice.
    faults.extend([
        KillWriter,
        KillConsumer,
        TerminateBackends,
        CutReply,
        ShiftedClock,
    ]);
    if wipes {
        faults.extend([WipeRedis, WipeRedis]);
    }
    for place in (1..faults.len()).rev() {
        faults.swap(place, random.within(0..place as u64 + 1) as usize);
    }
    faults
}

/// Longer than any time-out that the processes are set up with.
const LONG: Duration = Duration::from_millis(3_500);
const SHORT: Duration = Duration::from_millis(900);

/// A network between the processes and a server.
#[derive(Debug, Clone, Copy)]
enum Way {
    Redis,
    Postgres,
    /// The consumers' own way to PostgreSQL.
    Store,
}

/// Where a fault happens.
pub struct Scene<'a> {
    pub servers: &'a mut Servers,
    pub fleet: &'a mut Fleet,
    pub random: &'a mut Random,
    pub database: &'a str,
    pub journal: Option<&'a Path>,
    /// How many payloads were made that cannot be stored.
    pub poisoned: u64,
}

impl Scene<'_> {
    /// Lets time pass while processes die and are replaced.
    pub fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.fleet.tend();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes it happen, and ends it.
    pub fn happen(&mut self, fault: Fault) {
        match fault {
            KillWriter => self.fleet.kill_one(Role::Writer, self.random),
            KillConsumer => self.fleet.kill_one(Role::Consumer, self.random),
            StopWriter => self.suspend(Role::Writer),
            StopConsumer => self.suspend(Role::Consumer),
            RestartRedis => {
                self.servers.redis.stop();
                self.pass(SHORT);
                self.servers.redis.restart();
            }
            KillRedis => {
                self.servers.redis.kill9();
                self.pass(SHORT);
                self.servers.redis.restart();
            }
            SilentRedis => {
                self.servers.redis.suspend();
                self.pass(LONG);
                self.servers.redis.resume();
            }
            FullRedis => {
                self.redis(&["CONFIG", "SET", "maxmemory", "1"]);
                self.pass(SHORT);
                self.redis(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            WipeRedis => self.wipe(),
            CutRedisFile => self.cut_redis_file(),
            ImmediatePostgres => {
                self.servers.postgres.stop_immediately();
                self.pass(SHORT);
                self.servers.postgres.restart();
            }
            TerminateBackends => self.terminate(),
            MissingTable => self.missing_table(),
            BlackHole => self.network(Network::BlackHole, LONG),
            HalfOpen => self.network(Network::HalfOpen, LONG),
            Refused => self.network(Network::Refusing, SHORT),
            CutReply => self.cut(),
            PushedThreeTimes => self.push_again(),
            Poison => self.poison(),
            RefusingTable => self.refusing_table(),
            SkewedDatabase => self.skewed_database(),
            OrphanedLock => self.orphaned_lock(),
            ShiftedClock => {
                let ahead = self.random.one_in(2);
                self.fleet.shift_next(if ahead { 3_600 } else { -3_600 });
                let role = *self.random.choose(&[Role::Writer, Role::Consumer]);
                self.fleet.kill_one(role, self.random);
            }
        }
    }

    fn suspend(&mut self, role: Role) {
        if let Some(id) = self.fleet.suspend(role, self.random) {
            self.pass(LONG);
            self.fleet.resume(id);
        }
    }

    fn redis(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let done = command.exec(&mut self.servers.redis.connection());
        done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Several times, as the list is often empty.
    fn wipe(&mut self) {
        for _ in 0..5 {
            self.redis(&["FLUSHALL"]);
            let pause = self.random.within(5..70);
            self.pass(Duration::from_millis(pause));
        }
    }

    /// A power cut: the end of what Redis wrote is gone, and it is started twice.
    fn cut_redis_file(&mut self) {
        self.servers.redis.kill9();
        let path = append_only_file(&self.servers.redis);
        let file = OpenOptions::new().write(true).open(path).expect("the file");
        let length = file.metadata().expect("its length").len();
        let cut = self.random.within(1..20_000);
        file.set_len(length.saturating_sub(cut))
            .expect("a shorter file");
        self.servers.redis.restart();
        self.pass(SHORT / 2);
        self.servers.redis.kill9();
        self.servers.redis.restart();
    }

    /// Ends whoever is at it, around COMMIT if it can be met.
    fn terminate(&mut self) {
        for _ in 0..8 {
            self.servers.terminate(&format!(
                "datname = '{}' AND (query = 'COMMIT' OR random() < 0.2)",
                self.database
            ));
            let pause = self.random.within(5..60);
            self.pass(Duration::from_millis(pause));
        }
    }

    fn missing_table(&mut self) {
        self.for_a_while(
            "ALTER TABLE audit_logs RENAME TO audit_logs_away",
            "ALTER TABLE audit_logs_away RENAME TO audit_logs",
        );
    }

    /// A table that refuses each record, as where a partition is missing or a constraint was added.
    fn refusing_table(&mut self) {
        let (breaks, mends) = *self.random.choose(&[
            (
                "ALTER TABLE audit_logs ADD CONSTRAINT chaos CHECK (false) NOT VALID",
                "ALTER TABLE audit_logs DROP CONSTRAINT chaos",
            ),
            (
                "CREATE TRIGGER chaos BEFORE INSERT ON audit_logs \
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
                "DROP TRIGGER chaos ON audit_logs",
            ),
            (
                "ALTER TABLE audit_logs ADD COLUMN chaos text, \
                 ADD CONSTRAINT chaos CHECK (chaos IS NOT NULL) NOT VALID",
                "ALTER TABLE audit_logs DROP COLUMN chaos",
            ),
        ]);
        self.for_a_while(breaks, mends);
    }

    /// Changes the database, and changes it back.
    fn for_a_while(&mut self, breaks: &str, mends: &str) {
        if self.changed(breaks) {
            self.pass(SHORT);
            while !self.changed(mends) {
                self.pass(Duration::from_millis(20));
            }
        }
    }

    fn changed(&self, sql: &str) -> bool {
        let url = self.servers.postgres.url();
        let (server, _) = url.rsplit_once('/').expect("URL/database");
        let url = format!("{server}/{}", self.database);
        let conn = diesel::Connection::establish(&url);
        conn.is_ok_and(|mut conn: diesel::PgConnection| {
            diesel::RunQueryDsl::execute(diesel::sql_query(sql), &mut conn).is_ok()
        })
    }

    /// PostgreSQL's clock is an hour ahead of everybody's, or behind.
    fn skewed_database(&mut self) {
        let seconds = if self.random.one_in(2) { 3_600 } else { -3_600 };
        let Some(library) = crate::round::faketime() else {
            return;
        };
        let postgres = &mut self.servers.postgres;
        postgres.stop_immediately();
        postgres.restart_with_clock(&library, seconds);
        self.pass(2 * SHORT);
        self.servers.postgres.stop_immediately();
        self.servers.postgres.restart();
    }

    /// The hosts of consumers vanish, one of them with a bit of luck while it stores a batch.
    fn orphaned_lock(&mut self) {
        self.servers.to_store.set(Network::Orphaning);
        for _ in 0..6 {
            self.fleet.kill_one(Role::Consumer, self.random);
            let pause = self.random.within(50..300);
            self.pass(Duration::from_millis(pause));
        }
        self.servers.to_store.set(Network::Up);
        self.pass(Duration::from_millis(ORPHANED_FOR_MS));
    }

    fn way(&mut self) -> Way {
        *self.random.choose(&[Way::Redis, Way::Postgres, Way::Store])
    }

    fn at(&self, way: Way) -> &Proxy {
        match way {
            Way::Redis => &self.servers.to_redis,
            Way::Postgres => &self.servers.to_postgres,
            Way::Store => &self.servers.to_store,
        }
    }

    fn network(&mut self, network: Network, time: Duration) {
        let way = self.way();
        self.at(way).set(network);
        self.pass(time);
        self.at(way).heal();
    }

    fn cut(&mut self) {
        let way = self.way();
        for _ in 0..6 {
            let bytes = self.random.within(1..4_000);
            self.at(way).cut_after(bytes);
            self.pass(Duration::from_millis(80));
        }
    }

    /// Payloads that nobody can store, in the midst of those that everybody can.
    fn poison(&mut self) {
        let Some(path) = self.journal else { return };
        let patient = Duration::from_secs(60);
        let journal = Journal::builder(path).busy_timeout(patient).open();
        let journal = journal.expect("the journal");
        for _ in 0..5 {
            let number = self.random.next();
            let (id, kind) = (Uuid::from_u64_pair(number, 7), number % 3);
            let text = match kind {
                0 => format!("poison {number}"),
                1 => format!(r#"{{"v":99,"id":"{id}"}}"#),
                _ => format!(
                    r#"{{"v":1,"id":"{id}","occurred_at":1,"action":"poison","changes":{{"a":{{"new":"\u0000"}}}}}}"#
                ),
            };
            if journal.push(&[Payload::from(text.into_bytes())]).is_ok() {
                self.poisoned += 1;
            }
        }
    }

    fn push_again(&self) {
        let mut connection = self.servers.redis.connection();
        let list = redis::cmd("LRANGE")
            .arg(&self.servers.key)
            .arg(0)
            .arg(-1)
            .query(&mut connection);
        let list: Vec<Vec<u8>> = list.expect("the list");
        for _ in 0..2 {
            if !list.is_empty() {
                let mut push = redis::cmd("RPUSH");
                push.arg(&self.servers.key).arg(&list);
                push.exec(&mut connection).expect("RPUSH");
            }
        }
    }
}
