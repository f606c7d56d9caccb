//! A rollback to a savepoint that the journal could not note, and the process killed before it
//! could, while the server commits the rest: PostgreSQL knows what it rolled back.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::programs::{Program, Step, crash, crash_on};
use Step::{Delete, Event, Exempt, Insert, Lock, Update};

fn sql(text: &str) -> Step {
    Step::Sql(text.to_owned())
}

fn savepoint(name: &str) -> Step {
    sql(&format!("SAVEPOINT {name}"))
}

fn program(steps: &[Step], end: &[&str]) -> Program {
    Program {
        steps: steps.to_vec(),
        end: end.iter().map(|text| (*text).to_owned()).collect(),
    }
}

/// Asserts how many changes were kept, and how many records of others the journal still had.
/// What was inserted first is kept by each program.
fn assert_kept(programs: Vec<Program>, kept: usize, not_noted: usize) {
    let kept = kept + programs.len();
    let crash = crash(programs);
    assert_eq!(crash.kept.len(), kept, "{:?}", crash.kept);
    assert_eq!(crash.left, kept + not_noted, "{:?}", crash.kept);
}

#[test]
fn rolled_back_to_and_not_noted() {
    let end = &["ROLLBACK TO a", "COMMIT"];
    let undone = [Insert, Update(0), Delete(1)].map(|step| program(&[savepoint("a"), step], end));
    assert_kept(undone.to_vec(), 0, 3);
}

/// The process hears nothing between the two.
#[test]
fn rolled_back_to_and_committed_in_one_batch() {
    let end = &["ROLLBACK TO a; COMMIT"];
    let undone = [Insert, Update(0), Delete(1)].map(|step| {
        program(
            &[Update(2), savepoint("a"), step, savepoint("b"), Insert],
            end,
        )
    });
    assert_kept(undone.to_vec(), 3, 6);
}

#[test]
fn nested() {
    let steps = &[
        savepoint("a"),
        Update(0),
        savepoint("b"),
        Update(1),
        savepoint("c"),
        Delete(2),
    ];
    let programs = vec![
        program(steps, &["ROLLBACK TO c; COMMIT"]),
        program(steps, &["ROLLBACK TO b; COMMIT"]),
        program(steps, &["ROLLBACK TO a", "COMMIT"]),
        program(steps, &["COMMIT"]),
    ];
    assert_kept(programs, 2 + 1 + 3, 1 + 2 + 3);
}

/// What is released belongs to what is around it.
#[test]
fn released() {
    let steps = &[
        savepoint("a"),
        Update(0),
        savepoint("b"),
        Delete(1),
        sql("RELEASE b"),
    ];
    let after = [steps.as_slice(), &[Update(2)]].concat();
    let programs = vec![
        program(steps, &["COMMIT"]),
        program(steps, &["RELEASE a; COMMIT"]),
        program(steps, &["ROLLBACK TO a", "COMMIT"]),
        program(&after, &["RELEASE a", "COMMIT"]),
        program(&after, &["ROLLBACK TO a; COMMIT"]),
    ];
    assert_kept(programs, 2 + 2 + 3, 2 + 3);
}

/// A savepoint stays in force after a rollback to it, and begins another part.
#[test]
fn used_again() {
    let steps = &[
        savepoint("a"),
        Update(0),
        sql("ROLLBACK TO a"),
        Update(1),
        savepoint("a"),
        Delete(2),
    ];
    let programs = vec![
        program(steps, &["COMMIT"]),
        program(steps, &["ROLLBACK TO a; COMMIT"]),
        program(steps, &["ROLLBACK TO a; RELEASE a; ROLLBACK TO a; COMMIT"]),
    ];
    assert_kept(programs, 2 + 1, 1 + 2);
}

/// The lock and the deletion share the row's field for them, which then holds no transaction's id.
#[test]
fn a_deleted_row_that_was_locked_before() {
    let steps = &[Lock(0), savepoint("a"), Delete(0), savepoint("b"), Lock(1)];
    let programs = vec![
        program(steps, &["ROLLBACK TO a; COMMIT"]),
        program(steps, &["COMMIT"]),
        program(
            &[steps.as_slice(), &[Delete(1)]].concat(),
            &["ROLLBACK TO b; COMMIT"],
        ),
    ];
    assert_kept(programs, 2, 2);
}

/// No row tells where these belong.
#[test]
fn events_and_exempt_blocks() {
    let programs = vec![
        program(&[savepoint("a"), Event], &["ROLLBACK TO a; COMMIT"]),
        program(&[savepoint("a"), Event], &["COMMIT"]),
        program(
            &[savepoint("a"), Update(0), savepoint("b"), Event, Event],
            &["ROLLBACK TO b; COMMIT"],
        ),
        program(&[savepoint("a"), Exempt], &["ROLLBACK TO a; COMMIT"]),
        program(&[savepoint("a"), Exempt], &["COMMIT"]),
    ];
    assert_kept(programs, 3, 4);
}

/// A partitioned table and a view have no system columns to ask.
#[test]
fn tables_without_system_columns() {
    const PARTITIONED: &str = "
        ALTER TABLE accounts RENAME TO accounts_of_all;
        CREATE TABLE accounts (LIKE accounts_of_all INCLUDING DEFAULTS, PRIMARY KEY (id))
            PARTITION BY RANGE (id);
        ALTER TABLE accounts ATTACH PARTITION accounts_of_all DEFAULT";
    const VIEW: &str = "
        ALTER TABLE accounts RENAME TO accounts_of_all;
        CREATE VIEW accounts AS SELECT * FROM accounts_of_all;
        ALTER VIEW accounts ALTER id SET DEFAULT nextval('accounts_id_seq'),
            ALTER role SET DEFAULT 'member', ALTER balance SET DEFAULT 0,
            ALTER updated_at SET DEFAULT now()";
    // An update of a view is refused: nothing says that its rows have keys of their own.
    for (shape, kept) in [(PARTITIONED, 5), (VIEW, 2)] {
        let steps = &[Update(2), savepoint("a"), Insert, Update(0), Delete(1)];
        let programs = vec![
            program(steps, &["ROLLBACK TO a; COMMIT"]),
            program(steps, &["COMMIT"]),
        ];
        let crash = crash_on(Some(shape), programs);
        assert_eq!(crash.kept.len(), 2 + kept, "{:?}", crash.kept);
    }
}

/// More than PostgreSQL keeps at hand.
#[test]
fn very_many_savepoints() {
    let four = [savepoint("a"), Update(0), savepoint("b"), Update(1)];
    let steps = vec![four; 40].concat();
    let undone = [vec![savepoint("s")], steps.clone()].concat();
    let programs = vec![
        program(&steps, &["ROLLBACK TO b; COMMIT"]),
        program(&undone, &["ROLLBACK TO s; COMMIT"]),
    ];
    assert_kept(programs, 79, 1 + 80);
}

/// After a batch that failed, this side does not know the savepoints.
#[test]
fn savepoints_that_nobody_heard_of() {
    let failed = sql("SAVEPOINT b; SELECT 1 / 0");
    let programs = vec![
        program(
            &[
                savepoint("a"),
                Update(0),
                failed.clone(),
                sql("ROLLBACK TO b"),
                Update(1),
                Event,
            ],
            &["ROLLBACK TO b; COMMIT"],
        ),
        program(
            &[
                savepoint("a"),
                Update(0),
                failed.clone(),
                sql("ROLLBACK TO a"),
                Update(1),
                Event,
            ],
            &["COMMIT"],
        ),
        program(
            &[
                savepoint("b"),
                Update(0),
                failed,
                sql("ROLLBACK TO b"),
                Update(1),
            ],
            &["COMMIT"],
        ),
    ];
    let crash = crash(programs);
    assert_eq!(crash.kept.len(), 2 + 1 + 2 + 3, "{:?}", crash.kept);
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("\"A\"")]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => name().prop_map(savepoint),
        2 => name().prop_map(|name| sql(&format!("ROLLBACK TO {name}"))),
        2 => name().prop_map(|name| sql(&format!("RELEASE SAVEPOINT {name}"))),
        2 => Just(Insert),
        3 => (0..4_usize).prop_map(Update),
        2 => (0..3_usize).prop_map(Delete),
        1 => (0..3_usize).prop_map(Lock),
        1 => Just(Event),
        1 => Just(Exempt),
        1 => Just(sql("SELECT 1 / 0")),
        1 => name().prop_map(|name| sql(&format!("SAVEPOINT {name}; SELECT 1 / 0"))),
    ]
}

/// A program that ends with rollbacks and releases, each by itself or all in one batch.
fn any_program() -> impl Strategy<Value = Program> {
    let control = (any::<bool>(), name()).prop_map(|(back, name)| match back {
        true => format!("ROLLBACK TO {name}"),
        false => format!("RELEASE {name}"),
    });
    let steps = prop::collection::vec(step(), 1..14);
    let end = prop::collection::vec(control, 0..3);
    (steps, end, any::<bool>()).prop_map(|(steps, mut end, batch)| {
        end.push("COMMIT".to_owned());
        let end = if batch { vec![end.join("; ")] } else { end };
        Program { steps, end }
    })
}

/// How many crashes there are, of sixteen transactions each.
fn crashes() -> u32 {
    let number = std::env::var("AUDIT_TEST_CRASHES").ok();
    number.and_then(|n| n.parse().ok()).unwrap_or(6)
}

proptest! {
    #![proptest_config(Config {
        cases: crashes(),
        max_shrink_iters: 30,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn any_programs(programs in prop::collection::vec(any_program(), 16)) {
        crash(programs);
    }
}
