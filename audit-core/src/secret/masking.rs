//! Masks the secrets in a value, however deep they are.

use serde_json::{Map, Value, json};

use crate::secret::lists::{self, is_list_of_names, label_in, name_in};
use crate::secret::name::names_secret_detail;
use crate::secret::pairs::{MASK, mask_pairs};
use crate::secret::text::{has_private_key, looks_secret};

/// What stands for a value that is a secret.
pub(super) fn masked() -> Value {
    json!({"redacted": true})
}

/// What is inside of more objects and lists than this is masked: it would have to be looked at by
/// as many calls in each other.
const MAX_DEPTH: usize = 128;

/// What is masked.
pub(super) struct Masking<'a> {
    /// Values whose key says secret by this.
    pub(super) names: &'a dyn Fn(&str) -> bool,
    /// Texts that look like a secret as well.
    pub(super) texts: bool,
}

impl Masking<'_> {
    /// What this library finds by itself.
    pub(super) const BY_ITSELF: Self = Masking {
        names: &names_secret_detail,
        texts: true,
    };

    pub(super) fn value(&self, key: &str, value: &mut Value, depth: usize) {
        if (self.names)(key) || (depth > MAX_DEPTH && (value.is_object() || value.is_array())) {
            *value = masked();
            return;
        }
        match value {
            Value::Object(object) => self.object(object, depth + 1),
            Value::Array(values) => {
                if self.texts && values.iter().any(begins_private_key) {
                    // The lines of a key: the others do not say what they are.
                    *value = masked();
                } else {
                    self.list(key, values, depth + 1);
                }
            }
            Value::String(text) if self.texts => {
                if looks_secret(text) {
                    *value = masked();
                } else if let Some(other) = mask_pairs(text) {
                    *text = other;
                }
            }
            _ => {}
        }
    }

    fn object(&self, object: &mut Map<String, Value>, depth: usize) {
        if self.texts && object.keys().any(|key| looks_secret(key)) {
            object.retain(|key, _| !looks_secret(key));
            object.insert(MASK.to_owned(), masked());
        }
        let labelled = lists::Labelled::of(object, |name| (self.names)(name));
        for (key, value) in object {
            if labelled.covers(key, value) {
                *value = masked();
            } else {
                self.value(key, value, depth);
            }
        }
    }

    /// A list, which may be one of names and values in turn or in pairs.
    fn list(&self, key: &str, values: &mut [Value], depth: usize) {
        let of_names = is_list_of_names(key, values);
        let mut after_name = false;
        for value in values {
            let name = name_in(value).filter(|_| !of_names);
            let is_name = name.is_some_and(|name| (self.names)(&name));
            if after_name {
                *value = masked();
            } else {
                self.element(key, value, depth);
            }
            after_name = is_name;
        }
    }

    /// What stands in a list: a pair of a name and its values, or anything else.
    fn element(&self, key: &str, value: &mut Value, depth: usize) {
        if let Value::Array(pair) = value
            && let Some((name, values)) = pair.split_first_mut()
            && label_in(name).is_some_and(|name| (self.names)(&name))
        {
            values.iter_mut().for_each(|value| *value = masked());
        }
        // The key says what a list in the list is of, and no more than it has said already.
        let key = if value.is_array() { key } else { "" };
        self.value(key, value, depth);
    }
}

fn begins_private_key(value: &Value) -> bool {
    value.as_str().is_some_and(has_private_key)
}
