use proptest::prelude::*;

use super::mask_pairs;
use crate::secret::growth::assert_grows_with_length;

#[test]
fn values_behind_a_secret_name_are_masked() {
    for (text, masked) in [
        (
            "/v1/reset?token=abc&page=2",
            "/v1/reset?token=[redacted]&page=2",
        ),
        (
            "grant=x&client_secret=a%20b",
            "grant=x&client_secret=[redacted]",
        ),
        (
            "user[password]=hunter2&n=1",
            "user[password]=[redacted]&n=1",
        ),
        (
            "user%5Bpassword%5D=hunter2",
            "user%5Bpassword%5D=[redacted]",
        ),
        (
            "host=db password=hunter2 port=1",
            "host=db password=[redacted] port=1",
        ),
        (
            "host=db password='hun ter2' port=1",
            "host=db password='[redacted]' port=1",
        ),
        (
            "Server=db;Password=hunter2;X=1",
            "Server=db;Password=[redacted];X=1",
        ),
        ("password = \"hunter2\"", "password = \"[redacted]\""),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=[redacted] psql"),
        (":password => \"hunter2\"", ":password => \"[redacted]\""),
        (
            "{\"user\":\"ada\",\"password\":\"a\\\"b\"}",
            "{\"user\":\"ada\",\"password\":\"[redacted]\"}",
        ),
        (
            "{\\\"pin\\\":\\\"1234\\\",\\\"a\\\":1}",
            "{\\\"pin\\\":\\\"[redacted]\\\",\\\"a\\\":1}",
        ),
        (
            "{\"pin\": 1234, \"a\": 1}",
            "{\"pin\": [redacted], \"a\": 1}",
        ),
        (
            "{'token': ['a', 'b'], 'c': 1}",
            "{'token': [redacted], 'c': 1}",
        ),
        (
            "Login { user: \"ada\", password: \"hunter2\" }",
            "Login { user: \"ada\", password: \"[redacted]\" }",
        ),
        (
            "Login { password: Some(\"hun, ter2\"), a: 1 }",
            "Login { password: [redacted], a: 1 }",
        ),
        (
            "login(password: \"hunter2\")",
            "login(password: \"[redacted]\")",
        ),
        (
            "Host: a\r\nCookie: a=b; c=d\r\nX: 1",
            "Host: a\r\nCookie: [redacted]\r\nX: 1",
        ),
        (
            "Authorization: s3cret and more",
            "Authorization: [redacted]",
        ),
        (
            "password: hunter2\nname: ada",
            "password: [redacted]\nname: ada",
        ),
        (
            "a=1 token=b token=c",
            "a=1 token=[redacted] token=[redacted]",
        ),
        ("token=\"never closed", "token=\"[redacted]"),
        ("pin=🦀&a=1", "pin=[redacted]&a=1"),
        // Quotes around parts of a header's value: all of it goes.
        ("Cookie: \"a\"; b=\"c\"", "Cookie: [redacted]"),
        ("Cookie: \"a=b\"; c=d\nX: 1", "Cookie: [redacted]\nX: 1"),
        (
            "Cookie: id=\"a b\"; c=\"d\"\r\nX: 1",
            "Cookie: [redacted]\r\nX: 1",
        ),
        (
            "password: \"hunter2\",\nname: \"ada\"",
            "password: \"[redacted]\",\nname: \"ada\"",
        ),
        (
            "Authorization: Digest username=\"ada\", response=\"6629f\"",
            "Authorization: [redacted]",
        ),
        (
            "{ Authorization: Digest username=\"ada\", response=\"6629f\", host: h }",
            "{ Authorization: [redacted], host: h }",
        ),
        ("{ cookie: id=\"a\"; b=\"c d\" }", "{ cookie: [redacted]}"),
        (
            "{ cookie: a=b; c=d, host: h }",
            "{ cookie: [redacted], host: h }",
        ),
        ("cookie=id=\"a b\" x=1", "cookie=[redacted] x=1"),
        ("password='it''s hunter2' x=1", "password='[redacted]' x=1"),
        ("token=\"a\"b c", "token=\"[redacted] c"),
        (
            "{\"url\":\"/x?token=YQ==\",\"user\":\"ada\"}",
            "{\"url\":\"/x?token=[redacted]\",\"user\":\"ada\"}",
        ),
        // Lists of names and values.
        (
            "[(\"cookie\", \"a=b\"), (\"host\", \"h\")]",
            "[(\"cookie\", \"[redacted]\"), (\"host\", \"h\")]",
        ),
        ("[(b'cookie', b'a=b')]", "[(b'cookie', b'[redacted]')]"),
        (
            "[\n  \"Cookie\",\n  \"a=b\"\n]",
            "[\n  \"Cookie\",\n  \"[redacted]\"\n]",
        ),
        (
            "[\"Host\",\"h\",\"Cookie\",\"a\\\"b\",\"X\",\"x\"]",
            "[\"Host\",\"h\",\"Cookie\",\"[redacted]\",\"X\",\"x\"]",
        ),
        (
            "[\"X\",\"cookie\",\"Cookie\",\"a=b\",\"c\"]",
            "[\"X\",\"cookie\",\"[redacted]\",\"c\"]",
        ),
        (
            "{\\\"h\\\":[\\\"Cookie\\\",\\\"a=b\\\"]}",
            "{\\\"h\\\":[\\\"Cookie\\\",\\\"[redacted]\\\"]}",
        ),
        (
            "[\"Cookie\", [\"a\", \"b\"], \"X\"]",
            "[\"Cookie\", [redacted], \"X\"]",
        ),
    ] {
        assert_eq!(mask_pairs(text).as_deref(), Some(masked), "{text}");
    }
}

#[test]
fn other_texts_stay_as_they_are() {
    for text in [
        "",
        "=",
        ":",
        "token",
        "token=",
        "/v1/users/7?page=2",
        "the token: it expired",
        "wrong password: try again",
        "std::token::parse",
        "token:write session:read",
        "wrong token:\nexpired",
        "token_count=7",
        "password_expires_at: 2026-01-01",
        "if token == expected",
        "token://host",
        "pin=[redacted]&a=1",
        "12:30",
        "größe=🦀",
        "the fields \"password\", \"email\" are wrong",
        "retry(\"token\", 3)",
        "[\"id\", \"password\"]",
    ] {
        assert_eq!(mask_pairs(text), None, "{text}");
    }
}

#[test]
fn a_hostile_text_takes_time_that_grows_with_its_length() {
    for part in [
        "=",
        ":",
        "a=",
        "token=",
        "token=\"",
        "token:",
        "{token:[",
        "\"token\":",
        " ",
        "\\",
        "a",
        "token_token_",
        "token=(\"",
        "token=\\\"",
        "\ntoken:",
        "a:b=",
        "🦀=",
        "\"token\",",
        "[\"token\",\"",
        "\ntoken:\"a\"b",
        "{ token: a=\"b\", c=",
        "token='a'",
    ] {
        assert_grows_with_length(part, |text| drop(mask_pairs(text)));
    }
}

proptest! {
    /// Nothing but what is masked changes, in any text.
    #[test]
    fn what_is_not_masked_stays(text in r#"([a-z ]|token|["]token["],["]|[=:"'\\(){}\[\];,&\n]|🦀|ä){0,40}"#) {
        let masked = mask_pairs(&text);
        prop_assert!(masked.as_ref().is_none_or(|masked| masked.contains("[redacted]")));
        let masked = masked.unwrap_or_else(|| text.clone());
        let mut rest = text.as_str();
        let mut parts = masked.split("[redacted]");
        let first = parts.next().unwrap_or_default();
        prop_assert!(rest.starts_with(first), "{} {}", text, masked);
        rest = &rest[first.len()..];
        for part in parts {
            let at = rest.find(part);
            prop_assert!(at.is_some(), "{} {}", text, masked);
            rest = &rest[at.unwrap_or_default() + part.len()..];
        }
    }

    /// In whatever text a list of headers stands, the value behind a secret name goes.
    #[test]
    fn what_stands_in_a_list_behind_a_secret_name_is_masked(
        before in "([a-z ]|[=:(){}\\[\\];,&\\n]){0,20}",
        values in prop::collection::vec("[a-z]{1,3}|token", 0..4),
    ) {
        let mut list = values;
        list.extend(["Cookie".to_owned(), "hunter2".to_owned()]);
        let text = format!("{before}{}", serde_json::to_string(&list).unwrap_or_default());
        let masked = mask_pairs(&text).unwrap_or_else(|| text.clone());
        prop_assert!(!masked.contains("hunter2"), "{}", masked);
    }

    #[test]
    fn what_is_masked_is_masked(text in r#"([a-z ]|[=:"'(){}\[\];,&\n]|token){0,20}"#) {
        let query = format!("{}&token=hunter2", text.replace(['"', '\'', '(', '[', '{'], ""));
        let masked = mask_pairs(&query).unwrap_or(query);
        prop_assert!(!masked.contains("hunter2"), "{masked}");
    }
}
