//! The stricter delivery modes: what a statement costs whose record cannot be lost.

use audit_diesel::{Auditor, Delivery};
use diesel::prelude::*;

use crate::measure::{Contender, Samples, race};
use crate::models::context;
use crate::report::Row;
use crate::request::{Update, audited_update, plain_update, role, row, ten};
use crate::world::World;
use crate::{Effort, Fallible};

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let rounds = effort.rounds(100, 1_000, 5_000);
    let mut ways = Ways::new(world)?;
    let mut rows = compare("update of one row", &ways.race(rounds, one));
    let tens = ways.race(rounds / 4, ten);
    rows.extend(compare("ten updates in a transaction", &tens));
    Ok(rows)
}

fn one(conn: &mut PgConnection, round: usize, name: &str, update: Update) {
    update(conn, row(round), &role(round, name), round);
}

/// The connections, and where their records go.
struct Ways {
    plain: PgConnection,
    prepared: PgConnection,
    transactional: PgConnection,
    _auditors: [Auditor; 2],
}

impl Ways {
    fn new(world: &World) -> Fallible<Self> {
        let prepared = Auditor::builder()
            .redis_queue(world.list("prepared")?)
            .journal(world.file("prepared.db"))
            .confirm_in(world.pool()?)
            .delivery(Delivery::Prepared)
            .build()?;
        let transactional = Auditor::builder()
            .delivery(Delivery::Transactional)
            .build()?;
        Ok(Self {
            plain: world.connection()?,
            prepared: world.audited(&prepared)?,
            transactional: world.audited(&transactional)?,
            _auditors: [prepared, transactional],
        })
    }

    fn race(
        &mut self,
        rounds: usize,
        run: fn(&mut PgConnection, usize, &str, Update),
    ) -> [Samples; 3] {
        let Self {
            plain,
            prepared,
            transactional,
            ..
        } = self;
        let audited = |conn: &mut PgConnection, round: usize, name: &str| {
            context().scope(|| run(conn, round, name, audited_update));
        };
        let samples = race(
            rounds,
            vec![
                Contender::new(|round| run(plain, round, "plain", plain_update)),
                Contender::new(|round| audited(prepared, round, "prepared")),
                Contender::new(|round| audited(transactional, round, "transactional")),
            ],
        );
        samples.try_into().unwrap_or_default()
    }
}

fn compare(what: &str, [plain, prepared, transactional]: &[Samples; 3]) -> Vec<Row> {
    vec![
        Row::compare(format!("{what}, mode `prepared` ÷ plain"), prepared, plain),
        Row::compare(
            format!("{what}, mode `transactional` ÷ plain"),
            transactional,
            plain,
        ),
    ]
}
