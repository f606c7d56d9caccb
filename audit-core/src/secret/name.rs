//! Which names say that a value is a secret.

use std::cell::OnceCell;

use crate::secret::words::{
    EXTRA_SECRET_WORDS, LEAD_ON, SAY_OTHERWISE_AT_FIRST, SAY_OTHERWISE_BEFORE,
    SAY_OTHERWISE_BEHIND, SECRET_WORDS,
};

/// From this length on a word is also found at the end of a longer one: `accesstoken`,
/// `newpassword`. Shorter ones are the end of too many innocent words.
const ENDS_A_WORD_FROM: usize = 5;

/// Whether a name says that what it names is a secret: whether one of [`SECRET_WORDS`] is in it.
///
/// The name is cut into words at `_`, `-`, blanks and other signs, at digits, and where a small
/// letter is followed by a capital; case does not count, and neither does a plural's `s`. A word
/// has to be there whole, so that `tokenizer`, `secretary` and `pinned` are no secrets. Only
/// the long ones, from five letters, may also end a word that was written together:
/// `accesstoken`.
///
/// A name that ends in the word for a number, a time, a flag or a kind of the secret is none, and
/// neither is one that begins with the word for a flag or a number: `token_count`,
/// `password_expires_at`, `otp_enabled`, `otp_required_for_login`, `hide_passwords`, `max_tokens`.
///
/// ```
/// use audit_core::names_secret;
///
/// assert!(names_secret("apiToken"));
/// assert!(names_secret("user_password_digest"));
/// assert!(!names_secret("tokenizer"));
/// assert!(!names_secret("password_iterations"));
/// ```
pub fn names_secret(name: &str) -> bool {
    names_one_of(name, SECRET_WORDS)
}

/// Whether one of the words is in a name, as [`names_secret`] looks for its own.
///
/// A word is in small letters, and of several ones with a blank between them.
///
/// ```
/// use audit_core::names_one_of;
///
/// assert!(names_one_of("billing_ibans", &["iban", "tax number"]));
/// assert!(names_one_of("taxNumber", &["iban", "tax number"]));
/// assert!(!names_one_of("tax", &["iban", "tax number"]));
/// assert!(!names_one_of("has_iban", &["iban", "tax number"]));
/// ```
pub fn names_one_of(name: &str, words: &[&str]) -> bool {
    let name = Parts::of(name);
    words.iter().any(|word| name.hold(word))
}

/// Whether a key of free details says that its value is a secret.
pub(super) fn names_secret_detail(key: &str) -> bool {
    let key = Parts::of(key);
    let mut words = SECRET_WORDS.iter().chain(EXTRA_SECRET_WORDS);
    words.any(|word| key.hold(word))
}

/// The parts of a name, in small letters and written together.
struct Parts {
    letters: String,
    /// Where each part ends.
    ends: Vec<usize>,
    /// Looked for once, where a secret word is found at all.
    otherwise: OnceCell<Otherwise>,
}

/// The parts that say that a number, a time, a flag or a kind is meant, and not the secret itself.
struct Otherwise {
    /// The first one of those that say it of what follows.
    before: Option<usize>,
    /// The last one of those that say it of what precedes.
    behind: Option<usize>,
}

impl Parts {
    fn of(name: &str) -> Self {
        let mut parts = Self {
            letters: String::with_capacity(name.len()),
            ends: Vec::new(),
            otherwise: OnceCell::new(),
        };
        let mut before = None;
        let mut rest = name.chars().peekable();
        while let Some(letter) = rest.next() {
            let cut = before.is_some_and(|before| is_cut(before, letter, rest.peek().copied()));
            if cut || !letter.is_alphanumeric() {
                parts.end();
            }
            if letter.is_alphanumeric() {
                parts.letters.extend(letter.to_lowercase());
            }
            before = Some(letter);
        }
        parts.end();
        parts
    }

    fn end(&mut self) {
        let end = self.letters.len();
        if end > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(end);
        }
    }

    /// Whether the word ends where a part does, with or without the `s` of a plural, and the parts
    /// around it do not say that something else is meant.
    fn hold(&self, word: &str) -> bool {
        self.ends.iter().enumerate().any(|(i, &end)| {
            let singular = self.letters[..end].strip_suffix('s').map(str::len);
            let begin = self
                .begin_of(end, word)
                .or_else(|| self.begin_of(singular?, word));
            begin.is_some_and(|begin| !self.is_otherwise(begin, i))
        })
    }

    /// Where the word begins that ends here: with a part, or, where it is long, within one. A part
    /// may end inside the word only where one of the word's own does.
    fn begin_of(&self, end: usize, word: &str) -> Option<usize> {
        // Most words are told apart by this already.
        if self.letters.as_bytes()[..end].last() != word.as_bytes().last() {
            return None;
        }
        let mut at = end;
        // What follows in the word, and in the name.
        let mut after = None;
        for letter in word.chars().rev() {
            if letter == ' ' {
                after = None;
                continue;
            }
            if after.is_some_and(|after| self.is_end(at) && !is_cut(letter, after, None)) {
                return None;
            }
            let rest = self.letters[..at].strip_suffix(letter)?;
            (at, after) = (rest.len(), Some(letter));
        }
        let length = end - at;
        let found = length >= ENDS_A_WORD_FROM || (length > 0 && (at == 0 || self.is_end(at)));
        found.then_some(at)
    }

    /// Whether a part before `begin`, or one after the part `last`, says otherwise.
    fn is_otherwise(&self, begin: usize, last: usize) -> bool {
        let otherwise = self.otherwise.get_or_init(|| Otherwise {
            before: self.says_before(),
            behind: self.says_behind(),
        });
        let is_before = |part: usize| self.ends[part] <= begin;
        otherwise.before.is_some_and(is_before) || otherwise.behind.is_some_and(|part| part > last)
    }

    fn says_before(&self) -> Option<usize> {
        if is_one_of(self.part(0), SAY_OTHERWISE_AT_FIRST) {
            return Some(0);
        }
        (0..self.ends.len()).find(|&i| is_one_of(self.part(i), SAY_OTHERWISE_BEFORE))
    }

    /// The part that ends the name, but for digits, or that leads on to what is said besides.
    fn says_behind(&self) -> Option<usize> {
        let is_number = |&i: &usize| self.part(i).chars().all(char::is_numeric);
        let last = (0..self.ends.len()).rev().find(|i| !is_number(i))?;
        (0..=last).rev().find(|&i| {
            let leads_on = || LEAD_ON.contains(&self.part(i + 1));
            is_one_of(self.part(i), SAY_OTHERWISE_BEHIND) && (i == last || leads_on())
        })
    }

    fn part(&self, i: usize) -> &str {
        let begin = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.letters[begin..self.ends[i]]
    }

    fn is_end(&self, at: usize) -> bool {
        self.ends.binary_search(&at).is_ok()
    }
}

/// Whether the part is one of the words, with or without an `s` at its end.
fn is_one_of(part: &str, words: &[&str]) -> bool {
    words.contains(&part) || part.strip_suffix('s').is_some_and(|p| words.contains(&p))
}

/// Whether a word begins at a letter: `api|Token`, `API|Token`, `password|2`, `2|fa`.
fn is_cut(before: char, letter: char, after: Option<char>) -> bool {
    let begins_camel = letter.is_uppercase() && before.is_lowercase();
    let ends_acronym = letter.is_uppercase()
        && before.is_uppercase()
        // `userIDs` is one word after `user`, whose plural is small.
        && after.is_some_and(char::is_lowercase);
    begins_camel || ends_acronym || letter.is_numeric() != before.is_numeric()
}

#[cfg(test)]
mod tests;
