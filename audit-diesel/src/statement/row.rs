//! The caller's part of a row that a statement returned. That it cannot be loaded is told to the
//! caller, and takes no record away: the database has made the change by then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use diesel::deserialize::{FromSqlRow, FromStaticSqlRow, Result};
use diesel::result::{Error, QueryResult};
use diesel::row::Row;
use diesel::sql_types::BigInt;

/// What the database said of a change: 0 for what it did not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    xid: i64,
    micros: i64,
}

/// The mark and what the caller asked for.
#[derive(Debug)]
pub struct Extra<U> {
    mark: Mark,
    output: thread::Result<Result<U>>,
}

/// Loading runs the user's code. Should it panic, the change is recorded first.
fn caught<T>(load: impl FnOnce() -> T) -> thread::Result<T> {
    catch_unwind(AssertUnwindSafe(load))
}

impl<U> Extra<U> {
    pub(super) fn into_output(self) -> QueryResult<U> {
        self.output
            .unwrap_or_else(|panic| resume_unwind(panic))
            .map_err(Error::DeserializationError)
    }
}

type MarkSt = (BigInt, BigInt);

/// PostgreSQL counts from the year 2000.
#[cfg(feature = "postgres")]
const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// Written out for each backend: generic over it, the two would overlap with what a third crate
/// could implement for a backend of its own.
macro_rules! load_from {
    ($backend:ty, $from_micros:expr) => {
        impl FromSqlRow<MarkSt, $backend> for Mark {
            fn build_from_row<'a>(row: &impl Row<'a, $backend>) -> Result<Self> {
                let (xid, micros) =
                    <(i64, i64) as FromSqlRow<MarkSt, $backend>>::build_from_row(row)?;
                let micros = micros.saturating_add($from_micros);
                Ok(Self { xid, micros })
            }
        }

        impl<U, OutputSt> FromSqlRow<(MarkSt, OutputSt), $backend> for Extra<U>
        where
            (U,): FromStaticSqlRow<(OutputSt,), $backend>,
        {
            fn build_from_row<'a>(row: &impl Row<'a, $backend>) -> Result<Self> {
                let mark = Mark::build_from_row(&row.partial_row(0..2))?;
                let rest = row.partial_row(2..row.field_count());
                let output = caught(|| <(U,)>::build_from_row(&rest).map(|(output,)| output));
                Ok(Self { mark, output })
            }
        }
    };
}

#[cfg(feature = "postgres")]
load_from!(diesel::pg::Pg, MICROS_TO_2000);
#[cfg(feature = "sqlite")]
load_from!(diesel::sqlite::Sqlite, 0);

/// What a statement returned beside the rows of the model.
pub trait Output {
    /// What the database said of the change.
    fn mark(&self) -> Mark;
}

impl Output for Mark {
    fn mark(&self) -> Mark {
        *self
    }
}

impl<U> Output for Extra<U> {
    fn mark(&self) -> Mark {
        self.mark
    }
}

impl Mark {
    /// The database's id of the transaction, where it has one.
    pub(super) fn xid(self) -> Option<i64> {
        Some(self.xid).filter(|xid| *xid != 0)
    }

    /// The time that the database named, in microseconds since 1970.
    pub(super) fn micros(self) -> Option<i64> {
        Some(self.micros).filter(|micros| *micros != 0)
    }
}
