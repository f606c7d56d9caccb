//! Entries as they come out of the list. Of what is too long for a record comes the beginning, so that
//! an entry of any size takes no more memory here than a batch does.

use audit_core::{Payload, Whole};
use redis::Value;

/// An entry as the peeking script returns it, `None` where that is nothing that it returns.
pub(super) fn entry(value: Value) -> Option<Payload> {
    match value {
        Value::BulkString(bytes) => Some(Payload::from(bytes)),
        Value::Array(parts) => beginning(parts),
        _ => None,
    }
}

fn beginning(parts: Vec<Value>) -> Option<Payload> {
    let [beginning, bytes, sha1] = <[Value; 3]>::try_from(parts).ok()?;
    let (Value::BulkString(beginning), Value::Int(bytes), Value::BulkString(sha1)) =
        (beginning, bytes, sha1)
    else {
        return None;
    };
    let whole = Whole {
        bytes: bytes.try_into().ok()?,
        digest: format!("sha1:{}", String::from_utf8(sha1).ok()?),
    };
    Some(Payload::beginning(beginning, whole))
}
