//! The context that records get.

use audit_core::{Actor, AuditContext};

use super::Auditor;
use crate::AuditError;
use crate::log::log;

impl Auditor {
    /// The context in force, with the actor `unknown` where it names none.
    pub(crate) fn context(&self) -> Result<AuditContext, AuditError> {
        let context = AuditContext::current();
        if names_actor(&context) {
            return Ok(context);
        }
        self.check_context()?;
        self.shared.counters.without_actor();
        log!(
            debug,
            "a change is recorded without an actor: no audit context is in force"
        );
        Ok(context.actor(Actor::unknown()))
    }

    /// The context in force, for what is recorded though nobody may be known.
    pub(crate) fn context_or_unknown(&self) -> AuditContext {
        self.context()
            .unwrap_or_else(|_| AuditContext::current().actor(Actor::unknown()))
    }

    /// Refuses where a context is required and there is none.
    pub(crate) fn check_context(&self) -> Result<(), AuditError> {
        match self.shared.settings.require_context && !names_actor(&AuditContext::current()) {
            true => Err(AuditError::NoContext),
            false => Ok(()),
        }
    }
}

fn names_actor(context: &AuditContext) -> bool {
    context.actor_ref().is_some_and(|actor| !actor.is_unknown())
}
