//! The free details of a context, an event or a record, in which secrets are masked.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::secret::lists::label_in;
use crate::secret::masking::{Masking, masked};
use crate::secret::name::names_one_of;
use crate::secret::pairs::MASK;
use crate::secret::text::looks_secret;
use crate::storable;

/// Details that were added by hand. `Debug` shows their keys only: which words say secret may
/// not be known before they are recorded.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Extra(pub(crate) Map<String, Value>);

impl Extra {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a detail, masked where its key, or one inside it, says secret, and where a text looks
    /// like one.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        add_detail(&mut self.0, key.into(), value.into());
    }

    /// Masks by further words.
    pub(crate) fn mask(&mut self, words: &[&str]) {
        mask(&mut self.0, words);
    }

    /// Whether a word is in a key, however deep, or in what stands for a key.
    pub(crate) fn names(&self, words: &[&str]) -> bool {
        self.0.iter().any(|(key, value)| names(key, value, words))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Adds a detail, in a form that can be stored and masked as [`Extra::add`] says.
pub(crate) fn add_detail(extra: &mut Map<String, Value>, key: String, value: Value) {
    // Before anything looks into it, which a value that is nested too deep would not survive.
    let (key, mut value) = storable::detail(key, value);
    if looks_secret(&key) {
        extra.insert(MASK.to_owned(), masked());
        return;
    }
    Masking::BY_ITSELF.value(&key, &mut value, 0);
    extra.insert(key, value);
}

/// Masks the values whose keys have one of these words.
pub(crate) fn mask(extra: &mut Map<String, Value>, words: &[&str]) {
    let masking = Masking {
        names: &|key| names_one_of(key, words),
        texts: false,
    };
    for (key, value) in extra {
        masking.value(key, value, 0);
    }
}

fn names(key: &str, value: &Value, words: &[&str]) -> bool {
    names_one_of(key, words) || names_inside(value, words)
}

/// Whether a word is in a key, or in a text that may stand for one.
fn names_inside(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| names(key, value, words)),
        Value::Array(values) if values.iter().any(|value| names_inside(value, words)) => true,
        other => label_in(other).is_some_and(|name| names_one_of(&name, words)),
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests;
