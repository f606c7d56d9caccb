//! What differs between databases in how a transaction ends.

/// How a database ends transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// An error aborts the transaction; COMMIT then succeeds and rolls back. COMMIT always ends
    /// the transaction, whatever it returns.
    Postgres,
    /// An error leaves the transaction as it was, also at COMMIT. A savepoint outside of a
    /// transaction opens one.
    Sqlite,
}
