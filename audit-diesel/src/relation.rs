//! What the database says of the relation that a model's table name means, and which audited writes
//! can say truthfully what they did to it. Decides only; a backend's folder asks.

/// What a connection was told about a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) kind: RelationKind,
    /// How a statement can see to it that the model's key tells rows apart.
    pub(crate) key: KeyProof,
    /// Whether other tables inherit from it. Partitions do not count.
    pub(crate) has_children: bool,
    /// Whether a trigger may send a new row elsewhere before it is inserted.
    pub(crate) has_before_insert_trigger: bool,
    /// Which writes a rule turns into other ones.
    pub(crate) instead: InsteadRules,
    /// Whether this user may be able to write rows that it cannot read.
    pub(crate) may_hide_rows: bool,
}

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    Table,
    Partitioned,
    View,
    Foreign,
    Virtual,
    /// Nothing that can be written, or nothing at all: the database says so itself.
    Other,
}

/// How a statement can see to it that the model's key tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyProof {
    /// By the primary key, which costs nothing.
    PrimaryKey,
    /// By a look at the catalog each time.
    Catalog,
    /// Not at all.
    None,
}

/// Which writes a rule turns into other ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct InsteadRules {
    pub(crate) insert: bool,
    pub(crate) update: bool,
    pub(crate) delete: bool,
}

/// A write that is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Insert,
    /// `filtered`: whether it names rows by their values.
    Update {
        filtered: bool,
    },
    /// `filtered`: whether it names rows by their values.
    Delete {
        filtered: bool,
    },
}

impl Write {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

const RULE: &str =
    "a rule (DO INSTEAD) makes another write of it, and what that one writes is not returned";
const ROUTED: &str = "other tables inherit from it and a BEFORE INSERT trigger may send the row there, \
                      which is not returned; insert into the table that the row ends up in";
const HIDDEN: &str = "under its row level security this user may write rows that it may not read; \
                      name the rows by a filter on one of their columns";

impl Relation {
    /// A relation of which nothing is in the way.
    pub(crate) const fn ordinary(kind: RelationKind) -> Self {
        Self {
            kind,
            key: KeyProof::None,
            has_children: false,
            has_before_insert_trigger: false,
            instead: InsteadRules {
                insert: false,
                update: false,
                delete: false,
            },
            may_hide_rows: false,
        }
    }

    /// Why a write is refused that the database would make without saying which rows it wrote.
    pub(crate) fn refuses(&self, write: Write) -> Option<&'static str> {
        match write {
            Write::Insert if self.instead.insert => Some(RULE),
            Write::Update { .. } if self.instead.update => Some(RULE),
            Write::Delete { .. } if self.instead.delete => Some(RULE),
            Write::Insert if self.has_children && self.has_before_insert_trigger => Some(ROUTED),
            Write::Update { filtered: false } | Write::Delete { filtered: false }
                if self.may_hide_rows =>
            {
                Some(HIDDEN)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(relation: Relation, write: Write) -> bool {
        relation.refuses(write).is_some()
    }

    const WRITES: [Write; 5] = [
        Write::Insert,
        Write::Update { filtered: true },
        Write::Update { filtered: false },
        Write::Delete { filtered: true },
        Write::Delete { filtered: false },
    ];

    #[test]
    fn an_ordinary_table_takes_every_write() {
        let table = Relation::ordinary(RelationKind::Table);
        assert!(WRITES.iter().all(|write| !refuses(table, *write)));
    }

    #[test]
    fn a_rule_is_in_the_way_of_its_own_write_only() {
        let mut table = Relation::ordinary(RelationKind::Table);
        table.instead.delete = true;
        let refused = WRITES.map(|write| refuses(table, write));
        assert_eq!(refused, [false, false, false, true, true]);
    }

    #[test]
    fn rows_may_be_sent_to_tables_that_inherit() {
        let mut table = Relation::ordinary(RelationKind::Table);
        table.has_before_insert_trigger = true;
        assert!(!refuses(table, Write::Insert));
        table.has_children = true;
        let refused = WRITES.map(|write| refuses(table, write));
        assert_eq!(refused, [true, false, false, false, false]);
    }

    #[test]
    fn hidden_rows_are_not_written_by_a_statement_that_reads_rows() {
        let mut table = Relation::ordinary(RelationKind::Table);
        table.may_hide_rows = true;
        let refused = WRITES.map(|write| refuses(table, write));
        assert_eq!(refused, [false, false, true, false, true]);
    }
}
