//! Measures the library against plain Diesel and against other ways to keep an audit log. Started
//! by `scripts/bench`, which brings the servers along.

mod measure;
mod micro;
mod models;
mod peers;
mod plot;
mod report;
mod request;
mod world;

use std::path::PathBuf;

use plot::Plots;
use report::Row;
use world::World;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Does it run at all?
    Smoke,
    /// About two minutes.
    Quick,
    Full,
}

impl Effort {
    pub(crate) fn rounds(self, smoke: usize, quick: usize, full: usize) -> usize {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// How to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Markdown,
}

struct Arguments {
    effort: Effort,
    form: Form,
    /// Only groups whose name has this in it.
    only: String,
    plots: Option<PathBuf>,
}

const USAGE: &str =
    "usage: bench [--quick | --smoke] [--json | --markdown] [--only GROUP] [--plots FOLDER]";

impl Arguments {
    fn read() -> Fallible<Self> {
        let mut arguments = Self {
            effort: Effort::Full,
            form: Form::Text,
            only: String::new(),
            plots: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(USAGE);
            match &*argument {
                "--quick" => arguments.effort = Effort::Quick,
                "--smoke" => arguments.effort = Effort::Smoke,
                "--json" => arguments.form = Form::Json,
                "--markdown" => arguments.form = Form::Markdown,
                "--only" => arguments.only = value()?,
                "--plots" => arguments.plots = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }
}

type Group = fn(&World, Effort, &mut Plots) -> Fallible<Vec<Row>>;

const GROUPS: [(&str, Group); 3] = [
    ("request", |world, effort, _| request::rows(world, effort)),
    ("peers", peers::rows),
    ("micro", |world, effort, _| micro::rows(world, effort)),
];

fn main() -> Fallible<()> {
    let arguments = Arguments::read()?;
    let world = World::new()?;
    let mut rows = Vec::new();
    let mut plots = Plots::default();
    for (name, group) in GROUPS {
        if name.contains(&arguments.only) {
            eprintln!("== {name}");
            rows.extend(group(&world, arguments.effort, &mut plots)?);
        }
    }
    if let Some(folder) = &arguments.plots {
        plots.write(folder)?;
    }
    print(arguments.form, &world, &rows)
}

fn print(form: Form, world: &World, rows: &[Row]) -> Fallible<()> {
    let settings = world.description()?;
    let one_line = || {
        let pairs = settings
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    match form {
        Form::Text => println!("{}\n\n{}", one_line(), report::text(rows)),
        Form::Markdown => println!("{}\nMeasured on: {}.", report::markdown(rows), one_line()),
        Form::Json => {
            let settings: std::collections::BTreeMap<_, _> = settings.into_iter().collect();
            let report = serde_json::json!({ "settings": settings, "rows": rows });
            println!("{report:#}");
        }
    }
    Ok(())
}
