//! What `audit_schema!` leaves for the run time: the tables, as data and as a report.

use std::fmt::{self, Display, Formatter};

use crate::{ColumnDecision, Decided};

/// The tables of a schema, and what was decided about each: the `SCHEMA` that
/// [`audit_schema!`](crate::audit_schema) writes.
///
/// It prints as a report. [`AuditorBuilder::schema`](crate::AuditorBuilder::schema) takes it for the
/// guard and for the masking of secrets.
#[derive(Debug, Clone, Copy)]
pub struct AuditedSchema {
    path: &'static str,
    tables: &'static [SchemaTable],
    secret_words: &'static [&'static str],
}

impl AuditedSchema {
    /// The schema's file, as the macro names it.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The tables in the order of the lists, the audited ones first.
    pub fn tables(&self) -> &'static [SchemaTable] {
        self.tables
    }

    /// The names of the audited tables.
    pub fn audited(&self) -> impl Iterator<Item = &'static str> {
        let audited = self.tables.iter().filter(|table| table.is_audited());
        audited.map(|table| table.name)
    }

    /// What was decided about the table of this name in SQL: `users`, `auth.users`.
    pub fn table(&self, name: &str) -> Option<&'static SchemaTable> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The words that say secret in this application, beside [`SECRET_WORDS`](crate::SECRET_WORDS).
    pub fn secret_words(&self) -> &'static [&'static str] {
        self.secret_words
    }
}

/// A table of the schema.
#[derive(Debug, Clone, Copy)]
pub struct SchemaTable {
    name: &'static str,
    coverage: Coverage,
}

impl SchemaTable {
    /// Its name in SQL, with the PostgreSQL schema where it has one: `users`, `auth.users`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What was decided about it.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Whether it is audited.
    pub fn is_audited(&self) -> bool {
        matches!(self.coverage, Coverage::Audited { .. })
    }

    /// The resource type of its records, where it is audited.
    pub fn resource_type(&self) -> Option<&'static str> {
        match self.coverage {
            Coverage::Audited { resource_type, .. } => Some(resource_type()),
            Coverage::Exempt { .. } => None,
        }
    }
}

/// What was decided about a table.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Coverage {
    /// Its changes are recorded.
    #[non_exhaustive]
    Audited {
        /// The struct that derives `Auditable` for it, as the list names it.
        model: &'static str,
        /// Tells the resource type of its records.
        resource_type: fn() -> &'static str,
        /// What was decided about its columns.
        columns: &'static [ColumnDecision],
    },
    /// Its changes are not recorded.
    #[non_exhaustive]
    Exempt {
        /// Why.
        reason: &'static str,
    },
}

impl Display for AuditedSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let audited = self.audited().count();
        let exempt = self.tables.len() - audited;
        writeln!(f, "{}: {audited} audited, {exempt} exempt", self.path)?;
        let width = self
            .tables
            .iter()
            .map(|table| table.name.chars().count())
            .max();
        for table in self.tables {
            let (verdict, name) = (table.coverage.verdict(), table.name);
            let width = width.unwrap_or_default();
            writeln!(f, "  {verdict:7}  {name:width$}  {}", table.coverage)?;
        }
        Ok(())
    }
}

impl Coverage {
    fn verdict(&self) -> &'static str {
        match self {
            Self::Audited { .. } => "audited",
            Self::Exempt { .. } => "exempt",
        }
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audited { model, columns, .. } => {
                f.write_str(model)?;
                write_columns(f, columns, Decided::Redacted, "redacted")?;
                write_columns(f, columns, Decided::Skipped, "skipped")?;
                write_columns(f, columns, Decided::LeftOut, "left out")
            }
            Self::Exempt { reason } => f.write_str(reason),
        }
    }
}

/// Names the columns that the trail does not show.
fn write_columns(
    f: &mut Formatter<'_>,
    columns: &[ColumnDecision],
    wanted: Decided,
    word: &str,
) -> fmt::Result {
    let mut names = vec![];
    ColumnDecision::visit(columns, &mut |name, decided| {
        if decided == wanted {
            names.push(name);
        }
    });
    if names.is_empty() {
        return Ok(());
    }
    write!(f, "; {word}: {}", names.join(", "))
}

/// What `audit_schema!` calls.
pub mod macros {
    use super::{AuditedSchema, Coverage, SchemaTable};
    use crate::{AuditedModel, ColumnDecision, Decided};

    /// The type is a table that a model maps.
    #[diagnostic::on_unimplemented(
        message = "`{M}` maps the table `{Self}`, and the list names it as the model of `{T}`",
        label = "the model of another table",
        note = "name the struct that derives `Auditable` with `#[diesel(table_name = …)]` for this table"
    )]
    pub trait IsTable<T, M> {}

    impl<T, M> IsTable<T, M> for T {}

    /// The schema.
    pub const fn schema(
        path: &'static str,
        tables: &'static [SchemaTable],
        secret_words: &'static [&'static str],
    ) -> AuditedSchema {
        AuditedSchema {
            path,
            tables,
            secret_words,
        }
    }

    /// An audited table. Compiles where the model is the table's.
    pub const fn audited<T, M>(name: &'static str, model: &'static str) -> SchemaTable
    where
        M: AuditedModel,
        M::Table: IsTable<T, M>,
    {
        let coverage = Coverage::Audited {
            model,
            resource_type: M::resource_type,
            columns: M::COLUMNS,
        };
        SchemaTable { name, coverage }
    }

    /// A table that is not audited.
    pub const fn exempt(name: &'static str, reason: &'static str) -> SchemaTable {
        let coverage = Coverage::Exempt { reason };
        SchemaTable { name, coverage }
    }

    /// Does not compile where the table's model says nothing of some of the columns, which are
    /// given by their names in SQL and in Rust.
    #[track_caller]
    pub const fn decided(table: &SchemaTable, columns: &[(&str, &str)], message: [&str; 2]) {
        let mut undecided = Text::new();
        let mut i = 0;
        while i < columns.len() {
            let (sql_name, name) = columns[i];
            if find(table, sql_name).is_none() {
                let before = if undecided.length == 0 {
                    message[0]
                } else {
                    ", "
                };
                undecided = undecided.and(before).and(name);
            }
            i += 1;
        }
        if undecided.length > 0 {
            stop(undecided.and(message[1]).as_str());
        }
    }

    /// Does not compile where a column whose name says secret is recorded and nobody said so.
    #[track_caller]
    pub const fn secret_decided(table: &SchemaTable, column: &str, message: &str) {
        if matches!(find(table, column), Some(Decided::InTrail | Decided::Touch)) {
            stop(message);
        }
    }

    /// A message that the compiler puts together.
    struct Text {
        bytes: [u8; Self::CAPACITY],
        length: usize,
    }

    impl Text {
        /// What does not fit is left out.
        const CAPACITY: usize = 4096;

        const fn new() -> Self {
            Self {
                bytes: [0; Self::CAPACITY],
                length: 0,
            }
        }

        const fn and(mut self, more: &str) -> Self {
            let more = more.as_bytes();
            if more.len() <= Self::CAPACITY - self.length {
                let mut i = 0;
                while i < more.len() {
                    self.bytes[self.length + i] = more[i];
                    i += 1;
                }
                self.length += more.len();
            }
            self
        }

        const fn as_str(&self) -> &str {
            match str::from_utf8(self.bytes.split_at(self.length).0) {
                Ok(text) => text,
                Err(_) => "",
            }
        }
    }

    const fn find(table: &SchemaTable, column: &str) -> Option<Decided> {
        match table.coverage {
            Coverage::Audited { columns, .. } => ColumnDecision::find(columns, column),
            Coverage::Exempt { .. } => None,
        }
    }

    /// Stops the compiler, which is the only one that ever comes here.
    #[track_caller]
    #[expect(clippy::panic)]
    const fn stop(message: &str) -> ! {
        panic!("{}", message)
    }
}
