//! The named points of the library, and how often a process passes one before it dies at it.

/// Points with the most passes that a process lives through.
pub type Points = &'static [(&'static str, u64)];

/// Points that a writer passes. Its forwarder's are among them.
pub const WRITER_POINTS: Points = &[
    ("statement.done", 100),
    ("transaction.before-commit", 40),
    ("transaction.committed", 30),
    ("journal.before-write", 60),
    ("journal.in-write", 30),
    ("journal.written", 60),
    ("journal.in-collect", 20),
    ("journal.collected", 20),
    ("publish.done", 60),
    ("audit-forwarder.peeked", 20),
    ("redis.before-push", 12),
    ("redis.pushed", 12),
    ("audit-forwarder.delivered", 12),
    ("audit-forwarder.acknowledged", 12),
    ("journal.before-mark", 12),
    ("journal.marked", 12),
    ("audit-confirmer.peeked", 4),
    ("audit-confirmer.delivered", 4),
    ("audit-confirmer.acknowledged", 4),
    ("journal.sent-again", 1),
];

/// Points between a transaction's last statement and the end of the call.
pub const AROUND_COMMIT: Points = &[
    ("statement.done", 20),
    ("transaction.before-commit", 12),
    ("transaction.committed", 8),
    ("journal.before-write", 12),
    ("journal.in-write", 4),
    ("journal.written", 12),
    ("journal.in-collect", 4),
    ("publish.done", 12),
];

/// Points that a writer passes whose records are written down before COMMIT.
pub const PREPARED_POINTS: Points = &[
    ("statement.done", 60),
    ("prepared.before-write", 60),
    ("prepared.written", 60),
    ("transaction.before-commit", 40),
    ("transaction.committed", 30),
    ("prepared.before-release", 40),
    ("prepared.released", 40),
    ("audit-reconciler.peeked", 5),
    ("audit-reconciler.delivered", 5),
    ("audit-forwarder.peeked", 12),
    ("redis.pushed", 12),
    ("journal.marked", 12),
    ("audit-confirmer.delivered", 4),
];

/// As [`AROUND_COMMIT`], where records are written down before it.
pub const AROUND_PREPARED_COMMIT: Points = &[
    ("statement.done", 20),
    ("prepared.before-write", 20),
    ("prepared.written", 20),
    ("transaction.before-commit", 12),
    ("transaction.committed", 8),
    ("prepared.before-release", 12),
    ("prepared.released", 12),
    ("audit-reconciler.peeked", 2),
    ("audit-reconciler.delivered", 2),
];

/// Points of a writer that lie in what it calls: a queue, or the journal's file. A panic there must
/// harm no caller and lose no record.
pub const WRITER_PANICS: Points = &[
    ("journal.before-write", 30),
    ("journal.written", 30),
    ("redis.before-push", 8),
    ("redis.pushed", 8),
    ("audit-forwarder.peeked", 8),
    ("audit-forwarder.delivered", 8),
    ("audit-confirmer.peeked", 4),
    ("audit-confirmer.delivered", 4),
];

/// As [`WRITER_PANICS`], for a consumer.
pub const CONSUMER_PANICS: Points = &[
    ("audit-consumer.peeked", 8),
    ("store.begun", 8),
    ("store.before-commit", 8),
    ("store.committed", 8),
    ("audit-consumer.delivered", 8),
];

/// Points that a consumer passes.
pub const CONSUMER_POINTS: Points = &[
    ("audit-consumer.peeked", 12),
    ("store.begun", 12),
    ("store.before-commit", 12),
    ("store.committed", 12),
    ("audit-consumer.delivered", 12),
    ("audit-consumer.acknowledged", 12),
];
