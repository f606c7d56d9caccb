use std::fmt;
use std::sync::atomic::Ordering;

use diesel::r2d2::{CustomizeConnection, Error, R2D2Connection};

use super::{AuditedBackend, Auditor};
use crate::connection::AuditedConnection;

/// Attaches an auditor to every connection of an r2d2 pool; see [`Auditor::customizer`].
pub struct AuditorCustomizer<C> {
    auditor: Auditor,
    chained: Option<Box<dyn CustomizeConnection<C, Error>>>,
}

impl<C> AuditorCustomizer<C> {
    pub(super) fn new(auditor: Auditor) -> Self {
        Self {
            auditor,
            chained: None,
        }
    }

    /// Runs another customizer first: a pool takes only one.
    #[must_use]
    pub fn after(mut self, customizer: Box<dyn CustomizeConnection<C, Error>>) -> Box<Self> {
        self.chained = Some(customizer);
        Box::new(self)
    }
}

impl<C> fmt::Debug for AuditorCustomizer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditorCustomizer")
            .field("auditor", &self.auditor)
            .finish_non_exhaustive()
    }
}

impl<C> CustomizeConnection<C, Error> for AuditorCustomizer<C>
where
    C: AuditedConnection + R2D2Connection + 'static,
    C::Backend: AuditedBackend,
{
    fn on_acquire(&self, conn: &mut C) -> Result<(), Error> {
        if let Some(chained) = &self.chained {
            chained.on_acquire(conn)?;
        }
        self.auditor.attach(conn);
        Ok(())
    }

    fn on_release(&self, mut conn: C) {
        let closing = self.auditor.released(&mut conn);
        if let Some(chained) = &self.chained {
            chained.on_release(conn);
            if let Some(closing) = closing {
                // It is closed by now, unless the other one has kept it.
                closing.store(false, Ordering::Relaxed);
            }
        }
    }
}
