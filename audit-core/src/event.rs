//! Events that touch no table: logins, exports, failed attempts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::CapturedContext;
use crate::secret::{Extra, mask_text, mask_word};

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    #[default]
    Success,
    /// It was tried and failed.
    Failure,
    /// It was refused: the actor was not allowed to.
    Denied,
}

impl Outcome {
    /// The outcome as it stands in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// Something worth recording that changes no row, such as a failed login. It belongs to the context
/// that is in force where it is recorded, or else to the one where it was built.
///
/// ```
/// use audit_core::{AuditEvent, Outcome};
///
/// let event = AuditEvent::new("login.failed")
///     .resource("users", "ada")
///     .outcome(Outcome::Failure)
///     .with("reason", "wrong password");
/// assert_eq!(event.action(), "login.failed");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    pub(crate) action: String,
    pub(crate) resource: Option<(String, String)>,
    pub(crate) outcome: Outcome,
    pub(crate) extra: Extra,
    built_in: CapturedContext,
}

impl AuditEvent {
    /// An event; the action is a name of your own, such as `login.failed`.
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            action: mask_word(action.into()),
            resource: None,
            outcome: Outcome::Success,
            extra: Extra::default(),
            built_in: CapturedContext::here(),
        }
    }

    /// What the event is about: a type, such as `users`, and an id.
    #[must_use]
    pub fn resource(mut self, kind: impl Into<String>, id: impl ToString) -> Self {
        self.resource = Some((mask_word(kind.into()), mask_text(id.to_string())));
        self
    }

    /// How it ended; [`Outcome::Success`] unless said.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// A detail, stored as JSON in `extra` beside what the context has there. On the same key the
    /// event's value is kept. Secrets are masked here and now, as
    /// [`AuditContext::with`](crate::AuditContext::with) does.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.add(key, value);
        self
    }

    /// The context that was in force where it was built.
    pub fn built_in(&self) -> CapturedContext {
        self.built_in
    }

    /// The action.
    pub fn action(&self) -> &str {
        &self.action
    }
}
