//! Processor time, which says what work costs where the clock says how busy the machine is.

use std::cell::{Cell, RefCell};
use std::fs::read_to_string;
use std::ops::{Add, Sub};

use diesel::prelude::*;
use diesel::sql_types::Integer;

use crate::Fallible;
use crate::world::World;

/// Seconds that each process was at work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seconds {
    pub(crate) this_process: f64,
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
}

/// Adds up what one kind of work takes.
pub(crate) struct Meter {
    servers: RefCell<Servers>,
    spent: Cell<Seconds>,
}

struct Servers {
    conn: PgConnection,
    redis: redis::Connection,
}

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

impl Meter {
    pub(crate) fn new(world: &World) -> Fallible<Self> {
        let servers = Servers {
            conn: world.connection()?,
            redis: world.redis()?,
        };
        Ok(Self {
            servers: RefCell::new(servers),
            spent: Cell::default(),
        })
    }

    /// Does the work.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let now = || {
            self.servers
                .borrow_mut()
                .seconds()
                .expect("processor times")
        };
        let before = now();
        let done = work();
        self.spent.set(self.spent.get() + (now() - before));
        done
    }

    /// What the work took until now.
    pub(crate) fn spent(&self) -> Seconds {
        self.spent.get()
    }
}

impl Servers {
    fn seconds(&mut self) -> Fallible<Seconds> {
        Ok(Seconds {
            this_process: this_process()?,
            postgres: self.postgres()?,
            redis: self.redis()?,
        })
    }

    /// Of the connections to this database, without this one.
    fn postgres(&mut self) -> Fallible<f64> {
        let others = "SELECT pid FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let backends: Vec<Backend> = diesel::sql_query(others).load(&mut self.conn)?;
        let mut nanos = 0.0;
        for Backend { pid } in backends {
            let text = read_to_string(format!("/proc/{pid}/schedstat"))?;
            nanos += first_numbers::<1>(&text)?[0];
        }
        Ok(nanos / 1e9)
    }

    fn redis(&mut self) -> Fallible<f64> {
        let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query(&mut self.redis)?;
        let used = |key| info.get::<f64>(key).ok_or("INFO cpu without times");
        Ok(used("used_cpu_user")? + used("used_cpu_sys")?)
    }
}

/// With the threads that have ended.
fn this_process() -> Fallible<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let text = read_to_string("/proc/self/stat")?;
    // The program's name may hold spaces; times of user and system are 11 places after it.
    let (_, rest) = text.rsplit_once(')').ok_or("a stat file without a name")?;
    let times = rest
        .split_whitespace()
        .skip(11)
        .collect::<Vec<_>>()
        .join(" ");
    let [user, system] = first_numbers(&times)?;
    Ok((user + system) / TICKS_A_SECOND)
}

fn first_numbers<const N: usize>(text: &str) -> Fallible<[f64; N]> {
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().take(N).map(str::parse).collect();
    numbers?.try_into().map_err(|_| "too few numbers".into())
}

impl Seconds {
    fn combine(self, other: Self, by: fn(f64, f64) -> f64) -> Self {
        Self {
            this_process: by(self.this_process, other.this_process),
            postgres: by(self.postgres, other.postgres),
            redis: by(self.redis, other.redis),
        }
    }
}

impl Add for Seconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, f64::add)
    }
}

impl Sub for Seconds {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combine(other, f64::sub)
    }
}
