//! The WHERE clause of an audited update. Diesel's own cannot be taken apart, and an update needs
//! it twice: to read the old rows and to write the new ones.

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;

/// The WHERE clause of what was passed to `audited::update`.
#[derive(Debug, Clone, Copy)]
pub struct Target<W>(pub(super) W);

/// A WHERE clause with another predicate.
#[derive(Debug, Clone, Copy)]
pub struct And<W, P> {
    clause: W,
    predicate: P,
}

/// A WHERE clause whose type does not show its predicates.
pub struct Boxed<'a, DB> {
    clause: Box<dyn QueryFragment<DB> + Send + 'a>,
    predicates: Vec<Box<dyn QueryFragment<DB> + Send + 'a>>,
}

/// A WHERE clause that `filter` can be called on.
pub trait AndFilter<P> {
    /// The clause with the predicate.
    type Output;

    /// Adds a predicate.
    fn and_filter(self, predicate: P) -> Self::Output;
}

impl<W, P> AndFilter<P> for Target<W> {
    type Output = And<Self, P>;

    fn and_filter(self, predicate: P) -> Self::Output {
        And {
            clause: self,
            predicate,
        }
    }
}

impl<W, Q, P> AndFilter<P> for And<W, Q> {
    type Output = And<Self, P>;

    fn and_filter(self, predicate: P) -> Self::Output {
        And {
            clause: self,
            predicate,
        }
    }
}

impl<'a, DB, P> AndFilter<P> for Boxed<'a, DB>
where
    DB: Backend,
    P: QueryFragment<DB> + Send + 'a,
{
    type Output = Self;

    fn and_filter(mut self, predicate: P) -> Self {
        self.predicates.push(Box::new(predicate));
        self
    }
}

impl<'a, DB: Backend> Boxed<'a, DB> {
    pub(super) fn new<W: QueryFragment<DB> + Send + 'a>(clause: W) -> Self {
        Self {
            clause: Box::new(clause),
            predicates: Vec::new(),
        }
    }
}

impl<DB> std::fmt::Debug for Boxed<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Boxed").finish_non_exhaustive()
    }
}

impl<DB: Backend, W: QueryFragment<DB>> QueryFragment<DB> for Target<W> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<DB, W, P> QueryFragment<DB> for And<W, P>
where
    DB: Backend,
    W: QueryFragment<DB>,
    P: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let first = self.clause.is_noop(out.backend())?;
        self.clause.walk_ast(out.reborrow())?;
        push_predicate(&self.predicate, first, out)
    }
}

impl<DB: Backend> QueryFragment<DB> for Boxed<'_, DB> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // As many shapes as there are predicates: caching each would grow without bound.
        out.unsafe_to_cache_prepared();
        let mut first = self.clause.is_noop(out.backend())?;
        self.clause.walk_ast(out.reborrow())?;
        for predicate in &self.predicates {
            push_predicate(predicate, first, out.reborrow())?;
            first = false;
        }
        Ok(())
    }
}

fn push_predicate<'b, DB: Backend, P: QueryFragment<DB>>(
    predicate: &'b P,
    first: bool,
    mut out: AstPass<'_, 'b, DB>,
) -> QueryResult<()> {
    out.push_sql(if first { " WHERE (" } else { " AND (" });
    predicate.walk_ast(out.reborrow())?;
    out.push_sql(")");
    Ok(())
}
