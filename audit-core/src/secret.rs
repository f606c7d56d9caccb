//! Which names say that a value is a secret.

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
/// ```
/// use audit_core::names_one_of;
///
/// assert!(names_one_of("billing_ibans", &["iban", "tax number"]));
/// assert!(names_one_of("taxNumber", &["iban", "tax number"]));
/// assert!(!names_one_of("tax", &["iban", "tax number"]));
/// ```
pub fn names_one_of(name: &str, words: &[&str]) -> bool {
    let name = parts(name);
    words.iter().any(|word| {
        let word = parts(word);
        let (length, together) = (word.len(), word.concat());
        length > 0
            && (name.iter().any(|part| is_word(part, &together))
                || name
                    .windows(length)
                    .any(|run| is_word(&run.concat(), &together)))
    })
}

/// Whether the text is the word, or ends with it where the word is long enough for that.
fn is_word(text: &str, word: &str) -> bool {
    let is = |text: &str| text == word || (word.len() >= ENDS_A_WORD_FROM && text.ends_with(word));
    is(text) || text.strip_suffix('s').is_some_and(is)
}

/// The words of a name in small letters.
fn parts(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut parts = vec![String::new()];
    for (i, &letter) in letters.iter().enumerate() {
        let (before, after) = (i.checked_sub(1).map(|i| letters[i]), letters.get(i + 1));
        if !letter.is_alphanumeric() || before.is_some_and(|b| is_cut(b, letter, after.copied())) {
            parts.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(letter.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
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
            ("taxNumber", &["tax_number"], true),
            ("tax_no", &["tax number"], false),
            ("anything", &[""], false),
            ("anything", &[" _ "], false),
            ("anything", &[], false),
        ] {
            assert_eq!(names_one_of(name, words), found, "{words:?} in {name}");
        }
    }
}
