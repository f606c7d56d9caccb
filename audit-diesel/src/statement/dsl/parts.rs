//! What the types of statements are made of, for the names in [`dsl`](super) to take them apart.

use diesel::QuerySource;

use crate::statement::{
    Audited, IncompleteInsert, IncompleteOnConflict, IncompleteUpdate, InsertValues,
};

/// The parts of an update before `set`.
pub trait UpdateParts {
    /// The table that it writes.
    type Table: QuerySource;
    /// Its WHERE clause.
    type Where;
    /// The model whose changes are recorded.
    type Model;
}

impl<T: QuerySource, W, M> UpdateParts for IncompleteUpdate<T, W, M> {
    type Table = T;
    type Where = W;
    type Model = M;
}

/// The parts of an insert before its values.
pub trait InsertParts {
    /// The table that it writes.
    type Table: diesel::Table;
    /// `INSERT` or `INSERT OR IGNORE`.
    type Operator;
    /// The model whose rows are recorded.
    type Model;
}

impl<T: diesel::Table, M, Op> InsertParts for IncompleteInsert<T, M, Op> {
    type Table = T;
    type Operator = Op;
    type Model = M;
}

/// The parts of an insert of values.
pub trait ValuesParts {
    /// The table that it writes.
    type Table: diesel::Table;
    /// What is inserted.
    type Values;
    /// `INSERT` or `INSERT OR IGNORE`.
    type Operator;
}

impl<T: diesel::Table, V, Op> ValuesParts for InsertValues<T, V, Op> {
    type Table = T;
    type Values = V;
    type Operator = Op;
}

/// The parts of a statement.
pub trait StatementParts {
    /// What is done.
    type Statement;
    /// The model whose changes are recorded.
    type Model;
    /// What it returns.
    type Returning;
}

impl<S, M, R> StatementParts for Audited<S, M, R> {
    type Statement = S;
    type Model = M;
    type Returning = R;
}

/// The parts of an insert with a conflict target.
pub trait OnConflictParts {
    /// The insert.
    type Statement;
    /// The model whose rows are recorded.
    type Model;
    /// What it returns.
    type Returning;
    /// The conflict target.
    type Target;
}

impl<S, M, R, T> OnConflictParts for IncompleteOnConflict<S, M, R, T> {
    type Statement = S;
    type Model = M;
    type Returning = R;
    type Target = T;
}
