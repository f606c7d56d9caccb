use std::sync::Arc;

use audit_core::{Queue, QueueError};

use super::{Auditor, Settings};

/// Configures an [`Auditor`].
#[derive(Default)]
#[must_use = "call `build()`"]
pub struct AuditorBuilder {
    queue: Option<Arc<dyn Queue>>,
    require_context: bool,
    max_record_bytes: Option<usize>,
    max_transaction_bytes: Option<usize>,
}

/// Why an auditor was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing says where records go.
    #[error(
        "an auditor needs a queue: `.redis(url)` with `.journal(path)`, `.journal(path)` alone, \
         or `.queue(…)` with one of your own"
    )]
    NoQueue,
    /// A bound is zero.
    #[error("{setting} must be more than 0")]
    Zero {
        /// The builder's method.
        setting: &'static str,
    },
    /// A queue cannot be used as configured.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

const DEFAULT_MAX_RECORD_BYTES: usize = 1 << 20;
const DEFAULT_MAX_TRANSACTION_BYTES: usize = 256 << 20;

impl AuditorBuilder {
    /// Records go to a queue of your own, such as [`MemoryQueue`](crate::MemoryQueue) in tests.
    pub fn queue(mut self, queue: impl Queue) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// Makes a missing context an error, before anything is written, instead of recording the
    /// actor `unknown`.
    pub fn require_context(mut self) -> Self {
        self.require_context = true;
        self
    }

    /// Sets how large an encoded record may be, in bytes; 1 MiB unless said. A larger record of a
    /// change keeps the names of the fields, with sizes in place of values; a larger event is
    /// refused.
    pub fn max_record_bytes(mut self, max_bytes: usize) -> Self {
        self.max_record_bytes = Some(max_bytes);
        self
    }

    /// Sets how many bytes of records one open transaction may hold in memory; 256 MiB unless
    /// said. A statement beyond that fails, and its transaction has to be rolled back.
    pub fn max_transaction_bytes(mut self, max_bytes: usize) -> Self {
        self.max_transaction_bytes = Some(max_bytes);
        self
    }

    /// Builds the auditor.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where records would have nowhere to go, or could be lost without anybody
    /// having said so.
    pub fn build(self) -> Result<Auditor, ConfigError> {
        let settings = Settings {
            require_context: self.require_context,
            max_record_bytes: positive(
                "max_record_bytes",
                self.max_record_bytes,
                DEFAULT_MAX_RECORD_BYTES,
            )?,
            max_transaction_bytes: positive(
                "max_transaction_bytes",
                self.max_transaction_bytes,
                DEFAULT_MAX_TRANSACTION_BYTES,
            )?,
        };
        let queue = self.queue.ok_or(ConfigError::NoQueue)?;
        Ok(Auditor::new(queue, settings))
    }
}

fn positive(
    setting: &'static str,
    value: Option<usize>,
    default: usize,
) -> Result<usize, ConfigError> {
    match value {
        Some(0) => Err(ConfigError::Zero { setting }),
        Some(value) => Ok(value),
        None => Ok(default),
    }
}
