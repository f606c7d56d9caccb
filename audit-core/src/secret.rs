//! Which names say that a value is a secret, which texts look like one, and values that nobody sees
//! because of it.

mod extra;
#[cfg(test)]
mod growth;
mod lists;
mod masking;
mod name;
mod pairs;
mod text;
mod words;

pub(crate) use extra::{Extra, add_detail, mask};
pub use name::{names_one_of, names_secret};
pub use text::looks_secret;
pub use words::{EXTRA_SECRET_WORDS, SECRET_WORDS};

/// A text from outside, without what looks like a secret.
pub(crate) fn mask_text(text: String) -> String {
    if text::looks_secret(&text) {
        return pairs::MASK.to_owned();
    }
    pairs::mask_pairs(&text).unwrap_or(text)
}

/// A word of the application's own, such as an action, which comes from outside by mistake only.
pub(crate) fn mask_word<T: AsRef<str> + From<&'static str>>(word: T) -> T {
    match text::looks_secret(word.as_ref()) {
        true => T::from(pairs::MASK),
        false => word,
    }
}
