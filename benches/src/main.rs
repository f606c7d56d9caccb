//! Measures the library against plain Diesel and against other ways to keep an audit log. Started
//! by `scripts/bench`, which brings the servers along.

mod bulk;
mod child;
mod compile;
mod consumer;
mod counts;
mod growth;
mod guard;
mod measure;
mod micro;
mod models;
mod peers;
mod plot;
mod processor;
mod report;
mod request;
mod rows;
mod sqlite;
mod wire;
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
    /// Where the page with the table is.
    docs: Option<PathBuf>,
}

const USAGE: &str = "usage: bench [--quick | --smoke] [--json | --markdown] [--only GROUP] [--plots FOLDER] [--docs FOLDER]";

impl Arguments {
    fn read(given: &[String]) -> Fallible<Self> {
        let mut arguments = Self {
            effort: Effort::Full,
            form: Form::Text,
            only: String::new(),
            plots: None,
            docs: None,
        };
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(USAGE);
            match argument.as_str() {
                "--quick" => arguments.effort = Effort::Quick,
                "--smoke" => arguments.effort = Effort::Smoke,
                "--json" => arguments.form = Form::Json,
                "--markdown" => arguments.form = Form::Markdown,
                "--only" => arguments.only = value()?.clone(),
                "--plots" => arguments.plots = Some(value()?.into()),
                "--docs" => {
                    arguments.docs = Some(value()?.into());
                    arguments.plots.clone_from(&arguments.docs);
                }
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }
}

type Group = fn(&World, Effort, &mut Plots) -> Fallible<Vec<Row>>;

const GROUPS: [(&str, Group); 10] = [
    ("request", |world, effort, _| request::rows(world, effort)),
    ("peers", peers::rows),
    ("sqlite", |world, effort, _| sqlite::rows(world, effort)),
    ("bulk", |world, effort, _| bulk::rows(world, effort)),
    ("consumer", consumer::rows),
    ("micro", |world, effort, _| micro::rows(world, effort)),
    ("guard", |world, effort, _| guard::rows(world, effort)),
    ("growth", |world, effort, _| growth::rows(world, effort)),
    ("compile", |_, effort, _| compile::rows(effort)),
    ("wire", |world, effort, _| wire::rows(world, effort)),
];

fn main() -> Fallible<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.as_slice() {
        [first, rest @ ..] if first == "--child" => return child::main(rest),
        [first, rest @ ..] if first == "--counts" => return counts::main(rest),
        _ => {}
    }
    let arguments = Arguments::read(&given)?;
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
    if let Some(folder) = &arguments.docs {
        let table = describe(Form::Markdown, &world, &rows)?;
        let page = folder.join("performance.md");
        let text = report::with_table(&std::fs::read_to_string(&page)?, &table);
        std::fs::write(page, text.ok_or("the page has no place for the table")?)?;
    }
    println!("{}", describe(arguments.form, &world, &rows)?);
    Ok(())
}

fn describe(form: Form, world: &World, rows: &[Row]) -> Fallible<String> {
    let settings = world.description()?;
    let one_line = || {
        let pairs = settings.iter();
        let pairs = pairs.map(|(name, value)| format!("{name} {value}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    Ok(match form {
        Form::Text => format!("{}\n\n{}", one_line(), report::text(rows)),
        Form::Markdown => format!(
            "{}\nMeasured with {}.\n",
            report::markdown(rows),
            one_line()
        ),
        Form::Json => {
            let settings: std::collections::BTreeMap<_, _> = settings.iter().cloned().collect();
            let report = serde_json::json!({ "settings": settings, "rows": rows });
            format!("{report:#}")
        }
    })
}
