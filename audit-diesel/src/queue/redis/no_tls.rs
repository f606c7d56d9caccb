//! Without the feature `redis-tls`: what the queue has instead of TLS.

use std::time::Duration;

use redis::{Client, ConnectionInfo, RedisError};

use super::{Fault, fault};

/// Nothing can be given for TLS.
#[derive(Clone, Default)]
pub(super) struct Tls {}

impl Tls {
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, Fault> {
        Client::open(info).map_err(|error| fault::of(&error, Duration::ZERO))
    }
}

/// What an error means while a connection is made.
pub(super) fn fault(error: &RedisError, waited: Duration) -> Fault {
    fault::of(error, waited)
}

/// As [`fault`]; there is no handshake.
pub(super) fn fault_of_handshake(error: &RedisError, waited: Duration) -> Fault {
    fault(error, waited)
}
