use std::fmt;

/// Something works, and is set up so that records could be lost one day. Its `Display` text says
/// what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Warning {
    /// What it is about, such as a queue's [name](super::Queue::name).
    pub subject: String,
    /// What is the matter with it, and what that may cost.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

impl Warning {
    /// A warning that reads "subject problem: advice".
    pub fn new(
        subject: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.subject, self.problem, self.advice)
    }
}
