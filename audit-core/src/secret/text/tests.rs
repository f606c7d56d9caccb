use super::looks_secret;
use crate::secret::growth::assert_grows_with_length;

/// The header and the body of a JSON web token.
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

#[test]
fn texts_that_look_like_a_secret() {
    for text in [
        "Bearer abc",
        "bearer abc",
        "BEARER abc",
        "Bearer  5f2a",
        "Bearer%20abc1",
        "Authorization: Bearer abc",
        "{\"authorization\":\"Bearer abc\"}",
        "curl -H 'Authorization: Bearer abc' https://example.org",
        "the request had Bearer s3cret in it",
        "Bearer AbCdEf and more",
        "Bearer abcdefghijklmnopqrstuvwxyz and more",
        "Basic dXNlcjpwYXNz",
        "basic dXNlcjpwYXNz in the middle",
        "Basic dXNlcjpww6Rzcw==",
        "Basic YTpi",
        "Basic s3cret",
        "Token 9944b09199c62bcf",
        "ApiKey a1b2c3d4",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\\nMIIE",
        "x -----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
        "PuTTY-User-Key-File-2: ssh-rsa",
        JWT,
        "https://example.org/?x=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "session-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "postgres://app:hunter2@db/app",
        "no answer from \"postgres://app:hunter2@db/app\"",
        "redis://:hunter2@cache:6379",
        "amqps://a%40b:p%3Aw@host",
        "https://a:b@example.org/?next=https://c.org",
        "https://c.org/?next=postgres://a:b@db",
        "postgres://app:hun/ter2@db/app",
        "postgres://app:hun#ter2@db/app",
        "jdbc:postgresql://app:hunter2@db",
        "https://glpat0123456789abcdefghij@example.org/repository.git",
    ] {
        assert!(looks_secret(text), "{text}");
    }
    assert!(looks_secret(&format!("a {JWT} b")));
}

#[test]
fn texts_that_do_not() {
    for text in [
        "",
        "Bearer",
        "Bearer ",
        "bearer of good news",
        "the bearer has to sign",
        "bearer authentication failed",
        "forbearer",
        "Basic",
        "Basic plan",
        "basic: yes",
        "Basic v2",
        "the basic tariff was chosen",
        "token expired",
        "token v2",
        "-----BEGIN PUBLIC KEY-----\nMIIE",
        "-----BEGIN CERTIFICATE-----",
        "a PRIVATE KEY was made",
        "eyJ.tar.gz",
        "a.b.c",
        "1.2.3",
        "https://example.org",
        "https://example.org:8080/a@b",
        "https://example.org/a@b:c",
        "https://[::1]:8080/a@b",
        "ssh://git@github.com/a/b",
        "https://ada@example.org",
        "git@github.com:a/b.git",
        "mailto:ada@example.org",
        "ada@example.org",
        "/v1/users/7?page=2",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "0190c8f2-7f3e-7cc0-8d6b-5c6b3c1a9f10",
        "größer als 🦀: Basic 🦀",
    ] {
        assert!(!looks_secret(text), "{text}");
    }
}

#[test]
fn a_hostile_text_takes_time_that_grows_with_its_length() {
    for part in [
        "Bearer",
        "Bearer ",
        "bearer=",
        "bearer:",
        "bearer:+",
        "Basic a",
        " ",
        "://",
        "a://b:c/",
        "://@",
        "a:b@",
        "eyJ",
        "eyJ.",
        "eyJhbGciOiJIUzI1NiJ9",
        "BEGIN",
        "PRIVATE KEY",
        "🦀",
        "\"",
    ] {
        assert_grows_with_length(part, |text| {
            looks_secret(text);
        });
    }
}
