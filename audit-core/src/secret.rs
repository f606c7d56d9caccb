//! Which names say that a value is a secret, and values that nobody sees because of it.

mod extra;

pub(crate) use extra::{Extra, mask};

/// The words that say "secret" in a column's, a field's or a key's name.
///
/// An entry of several words is found however they are written: `api key` is in `api_key`,
/// `apiKey`, `api-keys` and `apikey`. See [`names_secret`] for what counts as found.
pub const SECRET_WORDS: &[&str] = &[
    // What a person or a service proves itself with.
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pwd",
    "pw",
    "pin",
    "secret",
    "token",
    "jwt",
    "bearer",
    "credential",
    "session key",
    // Keys that are secret. Not "key" by itself: most keys are primary, foreign or public.
    "api key",
    "access key",
    "auth key",
    "private key",
    "signing key",
    "encryption key",
    "decryption key",
    "master key",
    // Second factors and one-time codes.
    "otp",
    "totp",
    "hotp",
    "recovery code",
    "backup code",
    "verification code",
    "security code",
    // Not a secret by itself, but it is of use to who wants the password, and to nobody else.
    "salt",
    // What identifies or charges a person.
    "ssn",
    "social security",
    "cvv",
    "cvc",
    "card number",
];

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
/// ```
/// use audit_core::names_secret;
///
/// assert!(names_secret("apiToken"));
/// assert!(names_secret("user_password_digest"));
/// assert!(!names_secret("tokenizer"));
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
/// ```
pub fn names_one_of(name: &str, words: &[&str]) -> bool {
    let name = Parts::of(name);
    words.iter().any(|word| name.hold(word))
}

/// The parts of a name, in small letters and written together.
struct Parts {
    letters: String,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl Parts {
    fn of(name: &str) -> Self {
        let mut parts = Self {
            letters: String::with_capacity(name.len()),
            ends: Vec::new(),
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

    /// Whether the word ends where a part does, with or without the `s` of a plural.
    fn hold(&self, word: &str) -> bool {
        self.ends.iter().any(|&end| {
            let singular = self.letters[..end].strip_suffix('s').map(str::len);
            self.ends_at(end, word) || singular.is_some_and(|end| self.ends_at(end, word))
        })
    }

    /// Whether the word ends here, and begins where it may: with a part, or, where it is long,
    /// within one. A part may end inside the word only where one of the word's own does.
    fn ends_at(&self, end: usize, word: &str) -> bool {
        let mut at = end;
        // What follows in the word, and in the name.
        let mut after = None;
        for letter in word.chars().rev() {
            if letter == ' ' {
                after = None;
                continue;
            }
            if after.is_some_and(|after| self.is_end(at) && !is_cut(letter, after, None)) {
                return false;
            }
            let Some(rest) = self.letters[..at].strip_suffix(letter) else {
                return false;
            };
            (at, after) = (rest.len(), Some(letter));
        }
        let length = end - at;
        length >= ENDS_A_WORD_FROM || (length > 0 && (at == 0 || self.is_end(at)))
    }

    fn is_end(&self, at: usize) -> bool {
        self.ends.binary_search(&at).is_ok()
    }
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
mod tests {
    use super::{SECRET_WORDS, names_one_of, names_secret};

    #[test]
    fn names_that_say_secret() {
        for name in [
            "password",
            "Password",
            "PASSWORD",
            "user_password_digest",
            "userPassword",
            "newpassword",
            "password2",
            "passwords",
            "passwd",
            "db_pass",
            "pwd_hash",
            "passphrase",
            "secret",
            "client_secret",
            "clientSecret",
            "ClientSECRET",
            "topsecret",
            "token",
            "tokens",
            "token_hash",
            "apiToken",
            "APIToken",
            "OAuthToken",
            "oauth2_token",
            "accesstoken",
            "refreshtokens",
            "x-auth-token",
            "api_key",
            "api_keys",
            "apikey",
            "apiKey",
            "APIKey",
            "API_KEY",
            "X-Api-Key",
            "api key",
            "api.key",
            "stripe_api_key_live",
            "private_key",
            "PrivateKeyPem",
            "aws_access_key_id",
            "credential",
            "credentials",
            "otp",
            "otp_code",
            "totpSeed",
            "2fa_recovery_codes",
            "pin",
            "card_pin",
            "userPIN",
            "pin4",
            "ssn",
            "ssn_last4",
            "cvv",
            "cvv2",
            "cvc",
            "card_number",
            "salt",
            "geheimnis_token_ä",
        ] {
            assert!(names_secret(name), "{name} says secret");
        }
    }

    #[test]
    fn names_that_do_not() {
        for name in [
            "",
            "_",
            "id",
            "email",
            "tokenizer",
            "tokenized",
            "tokenization_model",
            "secretary",
            "secretaries",
            "pinned",
            "pinned_at",
            "spin",
            "shopping",
            "shopping_list",
            "keyboard",
            "key",
            "public_key",
            "primary_key",
            "foreign_key_id",
            "monkey",
            "keys",
            "passenger",
            "passed",
            "compass",
            "passport_number",
            "bypass",
            "salted",
            "basalt",
            "api",
            "api_version",
            "access",
            "access_level",
            "api_and_key",
            "code",
            "postal_code",
            "verification",
            "cardinality",
            "number",
            "business_number",
            "robot_pwned",
            "option",
            "update_at_pi_n",
            "session_id",
        ] {
            assert!(!names_secret(name), "{name} says nothing of a secret");
        }
    }

    #[test]
    fn each_word_is_found_in_every_way_to_write_it() {
        for word in SECRET_WORDS {
            let camel: String = word
                .split(' ')
                .flat_map(|part| [part[..1].to_uppercase(), part[1..].to_owned()])
                .collect();
            for name in [
                word.replace(' ', "_"),
                word.replace(' ', "-"),
                word.replace(' ', ""),
                word.to_uppercase().replace(' ', "_"),
                format!("user_{}_hash", word.replace(' ', "_")),
                format!("{}s", word.replace(' ', "_")),
                format!("{}1", word.replace(' ', "_")),
                format!("user{camel}Hash"),
                camel,
            ] {
                assert!(names_secret(&name), "{word} is in {name}");
            }
        }
    }

    #[test]
    fn further_words() {
        for (name, words, found) in [
            ("iban", &["iban"][..], true),
            ("billing_iban", &["iban"], true),
            ("ibanizer", &["iban"], false),
            ("taxNumber", &["tax number"], true),
            ("tax_numbers", &["tax number"], true),
            ("taxnumber2", &["tax number"], true),
            ("tax_n_umber", &["tax number"], false),
            ("ib_an", &["iban"], false),
            ("my2FaCode", &["2fa"], true),
            ("2fas", &["2fa"], true),
            ("straße_nr", &["straße"], true),
            ("tax_no", &["tax number"], false),
            ("anything", &[""], false),
            ("anything", &[" "], false),
            ("anything", &[], false),
        ] {
            assert_eq!(names_one_of(name, words), found, "{words:?} in {name}");
        }
    }
}
