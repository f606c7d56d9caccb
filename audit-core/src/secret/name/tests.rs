//! Both lists: the names that say secret, and those that do not.

use proptest::prelude::*;

use super::{names_one_of, names_secret, names_secret_detail};
use crate::secret::growth::assert_grows_with_length;
use crate::secret::words::{
    EXTRA_SECRET_WORDS, LEAD_ON, SAY_OTHERWISE_AT_FIRST, SAY_OTHERWISE_BEFORE,
    SAY_OTHERWISE_BEHIND, SECRET_WORDS,
};

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
        // What tables of well-known applications call their secrets.
        "encrypted_password",
        "reset_password_token",
        "confirmation_token",
        "unlock_token",
        "remember_token",
        "recovery_password_digest",
        "otp_secret",
        "encrypted_otp_secret_salt",
        "otp_backup_codes",
        "two_factor_secret",
        "two_factor_recovery_codes",
        "two_factor_scratch_codes",
        "akey",
        "security_stamp",
        "securityStamp",
        "master_password_hash",
        "password_hint",
        "enc_key",
        "access_code",
        "twofactor_remember",
        "totp_recover",
        "password_encrypted",
        "totp_2fa_secret",
        "gh_access_token",
        "gh_encrypted_token",
        "hashed_token",
        "authorization_code",
        "code_verifier",
        "webauthn_credential",
        "passkey",
        "security_answer",
        "wifi_psk",
        "shared_key",
        "database_url",
        "seed_phrase",
        // The number, the time or the flag is another thing's.
        "token_type_secret",
        "otp_count_password",
        "single_use_token",
        "last_used_otp",
        "attempt_password",
        "expired_token",
        "trade_show_token",
        "password_confirmation",
        "token_id",
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
        // Numbers.
        "password_iterations",
        "passwordIterations",
        "PASSWORD_ITERATIONS",
        "password_iter",
        "password_hash_rounds",
        "token_count",
        "tokens_count",
        "tokenCount",
        "token_count_2",
        "max_tokens",
        "total_tokens",
        "number_of_tokens",
        "min_password_length",
        "password_length",
        "failed_otp_attempts",
        "pin_tries",
        "hotp_counter",
        "token_ttl",
        "token_ttl_seconds",
        "password_age_days",
        "tokens_per_minute",
        "api_key_rate_limit",
        "secret_version",
        // Times, and who did it.
        "password_changed_at",
        "passwordExpiresAt",
        "password_expires_in_days",
        "reset_password_sent_at",
        "token_generated_at",
        "token_expiry",
        "secret_valid_until",
        "token_revoked_by",
        "totp_last_used",
        // Flags.
        "hide_passwords",
        "hidePasswords",
        "has_password",
        "hasPassword",
        "user_has_password",
        "is_token_valid",
        "must_change_password",
        "requires_otp",
        "require_password",
        "show_password",
        "password_required",
        "otp_required_for_login",
        "otp_enabled",
        "totp_2fa_enabled",
        "passkeys_enabled",
        "password_protected",
        // Kinds.
        "token_type",
        "password_algorithm",
        "credential_kind",
        "api_key_name",
        "token_scopes",
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

#[test]
fn keys_of_free_details_say_more() {
    for key in [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "HTTP_AUTHORIZATION",
        "cookie",
        "cookies",
        "Set-Cookie",
        "session",
        "session_id",
        "JSESSIONID",
        "PHPSESSID",
        "dsn",
        "SENTRY_DSN",
        "database_url",
        "DATABASE_URL",
        "psk",
        "private_pem",
        "x-hub-signature-256",
        "stripe-signature",
        "ssh_key",
        "passkey",
        "x-csrf-token",
        "csrf",
        "x-api-key",
        "password",
    ] {
        assert!(names_secret_detail(key), "{key} says secret");
    }
    for key in [
        "endpoint",
        "session_count",
        "session_duration",
        "cookie_policy",
        "signature_algorithm",
        "www-authenticate",
        "author",
        "authorized",
        "token_type",
        "url",
        "host",
        "user_agent",
        "key",
    ] {
        assert!(!names_secret_detail(key), "{key} says nothing of a secret");
    }
    for word in EXTRA_SECRET_WORDS {
        assert!(names_secret_detail(word), "{word}");
        assert!(!names_secret(word), "{word} is in both lists");
    }
}

#[test]
fn a_name_of_any_length_is_read_in_time_that_grows_with_it() {
    for part in ["token_", "a_", "tokenCount", "password", "pas", "is_", "s"] {
        assert_grows_with_length(part, |text| {
            names_secret_detail(&format!("{text}count"));
        });
    }
}

#[test]
fn each_word_that_says_otherwise_does_so_at_its_place_only() {
    for word in SAY_OTHERWISE_BEHIND {
        for name in [
            format!("password_{word}"),
            format!("password_{word}_2"),
            format!("password_{word}s"),
        ] {
            assert!(!names_secret(&name), "{name}");
        }
        for lead in LEAD_ON {
            let name = format!("password_{word}_{lead}_login");
            assert!(!names_secret(&name), "{name}");
        }
        assert!(
            names_secret(&format!("{word}_secret")) || says_before(word),
            "{word}"
        );
        assert!(names_secret(&format!("password_{word}_x")), "{word}");
    }
    for word in SAY_OTHERWISE_BEFORE {
        for name in [format!("{word}_password"), format!("user_{word}_password")] {
            assert!(!names_secret(&name), "{name}");
        }
        assert!(names_secret(&format!("password_{word}")), "{word}");
    }
    for word in SAY_OTHERWISE_AT_FIRST {
        assert!(!names_secret(&format!("{word}_password")), "{word}");
        assert!(names_secret(&format!("user_{word}_password")), "{word}");
    }
}

fn says_before(word: &str) -> bool {
    SAY_OTHERWISE_BEFORE.contains(&word) || SAY_OTHERWISE_AT_FIRST.contains(&word)
}

proptest! {
    /// However a name is written, it says the same.
    #[test]
    fn case_and_signs_do_not_count(words in prop::collection::vec("[a-z]{2,6}|token|count|is", 1..5)) {
        let snake = words.join("_");
        let says = names_secret_detail(&snake);
        prop_assert_eq!(names_secret_detail(&words.join("-")), says);
        prop_assert_eq!(names_secret_detail(&words.join(".")), says);
        prop_assert_eq!(names_secret_detail(&snake.to_uppercase()), says);
    }

    #[test]
    fn any_text_may_be_a_name(name in r"([a-zA-Z0-9_ -]|token|ß|İ|ǆ|🦀|٣){0,20}") {
        let says = names_secret(&name);
        // What says secret as a column does so in free details.
        prop_assert!(!says || names_secret_detail(&name));
    }
}
