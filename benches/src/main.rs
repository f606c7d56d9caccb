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
mod modes;
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
use std::time::Instant;

use plot::Plots;
use report::Row;
use world::World;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Does it run at all?
    Smoke,
    /// A few minutes.
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

/// Rows that are measured together.
struct Group {
    name: &'static str,
    /// The heading on the page under which a target that is missed is explained.
    explained: &'static str,
    rows: fn(&World, Effort, &mut Plots) -> Fallible<Vec<Row>>,
}

const GROUPS: [Group; 11] = [
    Group {
        name: "request",
        explained: "Statements on PostgreSQL",
        rows: |world, effort, _| request::rows(world, effort),
    },
    Group {
        name: "peers",
        explained: "Statements on PostgreSQL",
        rows: peers::rows,
    },
    Group {
        name: "modes",
        explained: "Stricter modes",
        rows: |world, effort, _| modes::rows(world, effort),
    },
    Group {
        name: "sqlite",
        explained: "Statements on SQLite",
        rows: |world, effort, _| sqlite::rows(world, effort),
    },
    Group {
        name: "bulk",
        explained: "Bulk updates",
        rows: |world, effort, _| bulk::rows(world, effort),
    },
    Group {
        name: "consumer",
        explained: "The consumer",
        rows: consumer::rows,
    },
    Group {
        name: "micro",
        explained: "The parts",
        rows: |world, effort, _| micro::rows(world, effort),
    },
    Group {
        name: "guard",
        explained: "The guard",
        rows: |world, effort, _| guard::rows(world, effort),
    },
    Group {
        name: "growth",
        explained: "Many columns and threads",
        rows: |world, effort, _| growth::rows(world, effort),
    },
    Group {
        name: "compile",
        explained: "Compile time",
        rows: |_, effort, _| compile::rows(effort),
    },
    Group {
        name: "wire",
        explained: "What travels and is written",
        rows: |world, effort, _| wire::rows(world, effort),
    },
];

impl Group {
    /// The compiler alone takes longer than a quick run has: there it is measured where it is
    /// named.
    fn is_wanted(&self, arguments: &Arguments) -> bool {
        let named = !arguments.only.is_empty();
        let too_long = arguments.effort == Effort::Quick && self.name == "compile";
        self.name.contains(&arguments.only) && (named || !too_long)
    }

    fn run(&self, world: &World, effort: Effort, plots: &mut Plots) -> Fallible<Vec<Row>> {
        let start = Instant::now();
        eprint!("== {}", self.name);
        let rows = (self.rows)(world, effort, plots);
        eprintln!(": {} s", start.elapsed().as_secs());
        let explained = |row: Row| row.explained(self.explained);
        Ok(rows?.into_iter().map(explained).collect())
    }
}

fn main() -> Fallible<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.as_slice() {
        [first, rest @ ..] if first == "--child" => return child::main(rest),
        [first, rest @ ..] if first == "--counts" => return counts::main(rest),
        _ => {}
    }
    let arguments = Arguments::read(&given)?;
    let wanted: Vec<_> = GROUPS.iter().filter(|g| g.is_wanted(&arguments)).collect();
    if wanted.is_empty() {
        let names = GROUPS.map(|group| group.name).join(", ");
        return Err(format!("no such group: {}; there are {names}", arguments.only).into());
    }
    let world = World::new()?;
    let mut rows = Vec::new();
    let mut plots = Plots::default();
    for group in wanted {
        rows.extend(group.run(&world, arguments.effort, &mut plots)?);
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

#[cfg(test)]
mod tests {
    use super::GROUPS;

    #[test]
    fn each_group_is_explained_on_the_page() {
        let page = include_str!("../../audit-diesel/docs/performance.md");
        for group in GROUPS {
            let heading = format!("\n## {}\n", group.explained);
            assert!(page.contains(&heading), "no {heading:?}");
        }
    }
}
