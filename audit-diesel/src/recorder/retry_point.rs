//! Where a statement that PostgreSQL refused can be tried again from, though the refusal has aborted
//! the transaction: right at its beginning, or right after a savepoint, there is nothing to lose.

use super::control::Control;

/// The latest beginning of a transaction or savepoint, while nothing has run since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RetryPoint {
    /// The text that began the transaction.
    Begin(String),
    /// The savepoint's name.
    Savepoint(String),
}

impl RetryPoint {
    /// The point that there is after a text that does this to the transaction.
    pub(super) fn after(text: &str, controls: &[Control]) -> Option<Self> {
        match controls {
            [Control::Begin] => Some(Self::Begin(text.to_owned())),
            [Control::Savepoint(name)] => Some(Self::Savepoint(name.clone())),
            _ => None,
        }
    }
}
