//! What the database says of the relation that a model's table name means, and which audited writes
//! can say truthfully what they did to it. Decides only; a backend's folder asks.

/// What a connection was told about a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) kind: RelationKind,
    /// How an update can see to it that the model's key tells rows apart.
    pub(crate) key: KeyProof,
    /// What is in the way of an insert, an update and a delete.
    pub(crate) insert: Option<Obstacle>,
    pub(crate) update: Option<Obstacle>,
    pub(crate) delete: Option<Obstacle>,
    /// Whether this user may be able to write rows that it cannot read.
    pub(crate) may_hide_rows: bool,
    /// Another number where the columns have other types, where the database cares.
    pub(crate) types: u64,
}

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    Table,
    Partitioned,
    View,
    Foreign,
    /// Another one, or none: what it does not take is for the database to say.
    Other,
}

/// How an update can see to it that the model's key tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyProof {
    /// By the primary key, which costs nothing.
    PrimaryKey,
    /// By a look at the catalog each time.
    Catalog,
    /// Not at all.
    None,
}

/// Why the database would write without saying which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A rule makes another write of it.
    Rule,
    /// A trigger may send the new row to a table that inherits from this one.
    RoutingTrigger,
    /// Row level security may let it write rows that it may not read.
    HiddenRows,
    /// A virtual table of SQLite.
    VirtualTable,
    /// A view of SQLite, with triggers.
    ViewOfSqlite,
}

/// A write that is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// `counted`: whether it is known how many rows it is to insert.
    Insert { counted: bool },
    /// `filtered`: whether it names rows by their values.
    Update { filtered: bool },
    /// `filtered`: whether it names rows by their values.
    Delete { filtered: bool },
}

impl Write {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }

    /// Diesel's function for it.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert_into",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }

    /// Whether the relation is looked at each time, as nothing would tell that the write found less than
    /// it should have: another session may have changed it since.
    pub(crate) fn needs_fresh_answer(self) -> bool {
        match self {
            Self::Insert { counted } => !counted,
            Self::Update { filtered } | Self::Delete { filtered } => !filtered,
        }
    }
}

impl Obstacle {
    /// Why the rows cannot be read, and what could be done.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Rule => {
                "a rule (DO INSTEAD) makes another write of it, whose rows are not returned; write \
                 the table that they end up in"
            }
            Self::RoutingTrigger => {
                "other tables inherit from it, and its BEFORE INSERT trigger may send the row to one \
                 of them, of which nothing is returned; insert into that table"
            }
            Self::HiddenRows => {
                "row level security lets this user write rows that it may not read; name the rows by \
                 a filter on one of their columns"
            }
            Self::VirtualTable => {
                "SQLite does not return the rows of a virtual table; write an ordinary table and let \
                 triggers keep this one up to date"
            }
            Self::ViewOfSqlite => {
                "SQLite does not return what a view shows after its trigger (INSTEAD OF) has run; \
                 update the table that holds the rows"
            }
        }
    }
}

impl Relation {
    /// A relation that nothing is in the way of.
    pub(crate) const fn ordinary(kind: RelationKind) -> Self {
        Self {
            kind,
            key: KeyProof::None,
            insert: None,
            update: None,
            delete: None,
            may_hide_rows: false,
            types: 0,
        }
    }

    /// What is in the way of a write.
    pub(crate) fn obstacle(&self, write: Write) -> Option<Obstacle> {
        let (obstacle, filtered) = match write {
            Write::Insert { .. } => (self.insert, true),
            Write::Update { filtered } => (self.update, filtered),
            Write::Delete { filtered } => (self.delete, filtered),
        };
        obstacle.or((self.may_hide_rows && !filtered).then_some(Obstacle::HiddenRows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITES: [Write; 5] = [
        Write::Insert { counted: true },
        Write::Update { filtered: true },
        Write::Update { filtered: false },
        Write::Delete { filtered: true },
        Write::Delete { filtered: false },
    ];

    fn obstacles(relation: Relation) -> [Option<Obstacle>; 5] {
        WRITES.map(|write| relation.obstacle(write))
    }

    #[test]
    fn nothing_is_in_the_way_of_an_ordinary_table() {
        let table = Relation::ordinary(RelationKind::Table);
        assert_eq!(obstacles(table), [None; 5]);
    }

    #[test]
    fn what_is_in_the_way_of_one_write_is_not_in_that_of_another() {
        let table = Relation {
            delete: Some(Obstacle::Rule),
            ..Relation::ordinary(RelationKind::Table)
        };
        let rule = Some(Obstacle::Rule);
        assert_eq!(obstacles(table), [None, None, None, rule, rule]);
    }

    #[test]
    fn hidden_rows_are_not_written_by_a_statement_that_reads_rows() {
        let table = Relation {
            may_hide_rows: true,
            ..Relation::ordinary(RelationKind::Table)
        };
        let hidden = Some(Obstacle::HiddenRows);
        assert_eq!(obstacles(table), [None, None, hidden, None, hidden]);
    }
}
