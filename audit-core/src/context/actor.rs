use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::{mask_text, mask_word};

/// Who made a change: a kind (`user`, `service`, …) and an id.
///
/// ```
/// use audit_core::Actor;
///
/// assert_eq!(Actor::user("42").to_string(), "user:42");
/// assert_eq!(Actor::new("support_agent", "7").kind(), "support_agent");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
}

impl Actor {
    /// An actor of a kind of your own.
    pub fn new(kind: impl Into<Cow<'static, str>>, id: impl Into<String>) -> Self {
        Self {
            kind: mask_word(kind.into()),
            id: mask_text(id.into()),
        }
    }

    /// A person with an account.
    pub fn user(id: impl Into<String>) -> Self {
        Self::new("user", id)
    }

    /// Another program, by its name.
    pub fn service(name: impl Into<String>) -> Self {
        Self::new("service", name)
    }

    /// The application itself: a scheduled job, a migration.
    pub fn system() -> Self {
        Self::new("system", "")
    }

    /// Somebody without an account, such as a visitor who signs up.
    pub fn anonymous() -> Self {
        Self::new("anonymous", "")
    }

    /// Nobody said who. Records made without a context have this actor.
    pub fn unknown() -> Self {
        Self::new("unknown", "")
    }

    /// The kind: `user`, `service`, `system`, `anonymous`, `unknown` or one of your own.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The id within the kind; empty where the kind says all.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this names nobody: `unknown`, an empty kind, or a user or service without an id.
    pub fn is_unknown(&self) -> bool {
        match self.kind.trim() {
            "" | "unknown" => true,
            "system" | "anonymous" => false,
            _ => self.id.trim().is_empty(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.id.is_empty() {
            write!(f, ":{}", self.id)?;
        }
        Ok(())
    }
}

/// Which part of the system a change came through.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Cow<'static, str>", into = "Cow<'static, str>")]
#[non_exhaustive]
pub enum Source {
    /// A request to the public API.
    Api,
    /// A page of the application.
    Web,
    /// A command-line tool or console.
    Cli,
    /// A background job.
    Job,
    /// A data migration.
    Migration,
    /// A source of your own.
    Other(Cow<'static, str>),
}

impl Source {
    /// The source as it stands in the record.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Api => "api",
            Self::Web => "web",
            Self::Cli => "cli",
            Self::Job => "job",
            Self::Migration => "migration",
            Self::Other(name) => name,
        }
    }
}

impl From<Cow<'static, str>> for Source {
    fn from(name: Cow<'static, str>) -> Self {
        match name.as_ref() {
            "api" => Self::Api,
            "web" => Self::Web,
            "cli" => Self::Cli,
            "job" => Self::Job,
            "migration" => Self::Migration,
            _ => Self::Other(name),
        }
    }
}

impl From<Source> for Cow<'static, str> {
    fn from(source: Source) -> Self {
        match source {
            Source::Other(name) => name,
            known => Cow::Owned(known.as_str().to_owned()),
        }
    }
}
