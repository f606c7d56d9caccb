//! What an error of Redis means for the queue, in words that hold no secret.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::Fault;

/// The codes that mean something here, with what to say and whether time heals it.
const CODES: &[(&str, bool, &str)] = &[
    (
        "OOM",
        true,
        "it is at its maxmemory and takes no more until consumers drain it",
    ),
    ("READONLY", true, "it is a read-only replica"),
    ("LOADING", true, "it is loading its data"),
    (
        "MISCONF",
        true,
        "it cannot save to disk and refuses writes (MISCONF)",
    ),
    ("BUSY", true, "it is busy with somebody's script"),
    ("NOREPLICAS", true, "it has too few replicas to take writes"),
    ("MASTERDOWN", true, "it has lost its master"),
    ("CLUSTERDOWN", true, "its cluster is down"),
    ("TRYAGAIN", true, "its cluster is moving the key"),
    (
        "WRONGTYPE",
        false,
        "its key holds something that is no list: choose another key, or remove it",
    ),
    (
        "WRONGPASS",
        false,
        "it refuses the user or password: correct them in the URL",
    ),
    (
        "NOAUTH",
        false,
        "it asks for a password: put it into the URL",
    ),
    (
        "NOPERM",
        false,
        "its user may not do what the queue does: allow RPUSH, LRANGE, LTRIM, LLEN, LPOS, EVALSHA and \
         SCRIPT LOAD on the key, and GET and SET on the key with `:owner` behind it",
    ),
    (
        "MOVED",
        false,
        "it belongs to a Redis Cluster, which is not supported",
    ),
    (
        "ASK",
        false,
        "it belongs to a Redis Cluster, which is not supported",
    ),
    (
        "CROSSSLOT",
        false,
        "it belongs to a Redis Cluster, which is not supported",
    ),
];

/// Whether Redis answered, and the connection stands at the end of the answer. A replica that
/// was the master is left, so that the next connection may find the new master.
pub(super) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
        && error.code() != Some("READONLY")
}

/// Whether the server does not have the command, or does not allow it.
pub(super) fn is_no_such_command(error: &RedisError) -> bool {
    let unknown = |detail: &str| detail.starts_with("unknown command");
    is_code(error, "NOPERM") || error.detail().is_some_and(unknown)
}

/// As [`of`], on a connection that was in use.
pub(super) fn of_use(error: &RedisError, waited: Duration) -> Fault {
    let fault = of(error, waited);
    // Redis says so, and closes the connection, where what it was sent cannot be a command.
    let refused = error
        .detail()
        .is_some_and(|said| said.starts_with("Protocol error"));
    match fault {
        Fault::Away(reason) if refused || error.is_connection_dropped() => Fault::Cut(reason),
        fault => fault,
    }
}

/// Whether a call of the operating system was interrupted, as happens to who waits with a time-out
/// while its process is suspended and resumed. redis-rs does not go on with such a call.
pub(super) fn is_interruption(error: &RedisError) -> bool {
    let source = error.source().and_then(|shared| shared.downcast_ref());
    let cause = source.and_then(|source: &Arc<dyn Error + Send + Sync>| source.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::Interrupted)
}

/// What the error means. `waited` is the time-out that applied.
pub(super) fn of(error: &RedisError, waited: Duration) -> Fault {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => of_answer(error),
        ErrorKind::Io if error.is_timeout() => Fault::Late(format!("no answer within {waited:?}")),
        ErrorKind::Io => Fault::away(error.to_string()),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            Fault::wrong("what answers there does not speak like Redis: check host and port")
        }
        ErrorKind::InvalidClientConfig => {
            Fault::wrong("its URL cannot be used: check host and port")
        }
        kind => Fault::away(format!("{kind:?}")),
    }
}

/// As [`of`], while logging in.
pub(super) fn of_log_in(error: &RedisError, waited: Duration) -> Fault {
    match (of(error, waited), error.code()) {
        (Fault::Away(_), Some("ERR")) if !too_many_clients(error) => Fault::wrong(
            "it refuses the log-in: it may have no password set, or be too old for user names",
        ),
        (fault, _) => fault,
    }
}

/// As [`of`], while choosing the database.
pub(super) fn of_select(error: &RedisError, waited: Duration) -> Fault {
    match (of(error, waited), error.code()) {
        (Fault::Away(_), Some("ERR")) if !too_many_clients(error) => {
            Fault::wrong("it has no database of the number in the URL")
        }
        (fault, _) => fault,
    }
}

fn of_answer(error: &RedisError) -> Fault {
    let known = CODES.iter().find(|(code, ..)| is_code(error, code));
    match known {
        Some((_, true, reason)) => Fault::away(*reason),
        Some((_, false, reason)) => Fault::wrong(*reason),
        None if is_code(error, super::scripts::UNCLAIMED) => Fault::Unclaimed,
        None if too_many_clients(error) => Fault::away("it has as many clients as it takes"),
        None => Fault::away(format!("it answered {}", unquoted(error))),
    }
}

/// Redis before 7.0 wraps the error of a command inside a script into one of its own.
fn is_code(error: &RedisError, code: &str) -> bool {
    error.code() == Some(code)
        || error.detail().is_some_and(|detail| {
            detail.starts_with("Error running script")
                && detail
                    .split([' ', ':'])
                    .any(|word| word.trim_start_matches('-') == code)
        })
}

fn too_many_clients(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("max number of clients"))
}

/// The answer up to its first quotation: what Redis quotes are arguments of the command, which
/// may be a password or a record.
fn unquoted(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let detail = detail.split(['\'', '`', '"']).next().unwrap_or_default();
    let detail: String = detail.chars().take(120).collect();
    format!("{} {detail}", error.code().unwrap_or_default())
        .trim()
        .to_owned()
}
