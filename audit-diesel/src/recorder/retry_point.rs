//! Where a statement that PostgreSQL refused can be tried again from, though the refusal has aborted
//! the transaction: right at its beginning, or right after a savepoint, there is nothing to lose.

use std::borrow::Cow;

use super::control::Control;

/// How Diesel begins a transaction without options.
const BEGIN: &str = "BEGIN";

/// The latest beginning of a transaction or savepoint, while nothing has run since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RetryPoint {
    /// The text that began the transaction.
    Begin(Cow<'static, str>),
    /// The savepoint's name.
    Savepoint(String),
}

impl RetryPoint {
    /// The point that there is after a text that does this to the transaction.
    pub(super) fn after(text: &str, controls: &[Control]) -> Option<Self> {
        match controls {
            // Most transactions begin so, each with its first query.
            [Control::Begin] if text == BEGIN => Some(Self::Begin(Cow::Borrowed(BEGIN))),
            [Control::Begin] => Some(Self::Begin(Cow::Owned(text.to_owned()))),
            [Control::Savepoint(name)] => Some(Self::Savepoint(name.clone())),
            _ => None,
        }
    }
}
