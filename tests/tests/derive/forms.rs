//! Forms and names of fields.

use super::support::*;

/// `Display` and `Debug`, and a `Serialize` that must not be used.
#[derive(Clone, PartialEq)]
struct Shown(i32);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "?{}", self.0)
    }
}

type_of_columns!(Shown: diesel::sql_types::Integer, diesel::sql_types::Text);

mod forms_of {
    pub(crate) fn length(text: &Option<String>) -> Option<usize> {
        text.as_ref().map(String::len)
    }

    pub(crate) fn first<'a>(text: &'a str) -> impl serde::Serialize + use<'a> {
        &text[..1]
    }
}

#[derive(Clone, Auditable)]
#[diesel(table_name = forms)]
struct Formed {
    #[audit(display, rename = "number")]
    id: Shown,
    #[audit(display)]
    shown: Shown,
    #[audit(display)]
    shown_maybe: Option<Shown>,
    #[audit(debug)]
    debugged: Option<Shown>,
    #[audit(redact, rename = "code")]
    masked: Panics,
    #[audit(with = "forms_of::length")]
    length: Option<String>,
    #[audit(touch)]
    #[audit(with = "forms_of::first")]
    touched: String,
    #[audit(plain, rename = "name")]
    plain_name: String,
}

fn formed() -> Formed {
    Formed {
        id: Shown(1),
        shown: Shown(2),
        shown_maybe: Some(Shown(3)),
        debugged: Some(Shown(4)),
        masked: Panics,
        length: Some("four".to_owned()),
        touched: "t".to_owned(),
        plain_name: "n".to_owned(),
    }
}

#[test]
fn forms_and_names() {
    assert_eq!(
        insert(&formed()),
        json!({
            "number": {"new": "#1"},
            "shown": {"new": "#2"},
            "shown_maybe": {"new": "#3"},
            "debugged": {"new": "?4"},
            "code": {"redacted": true},
            "length": {"new": 4},
            "touched": {"new": "t"},
            "name": {"new": "n"},
        })
    );
    assert_eq!(formed().resource_id(), "#1");
}

#[test]
fn forms_keep_null_and_compare_the_values() {
    let none = Formed {
        shown_maybe: None,
        debugged: None,
        length: None,
        ..formed()
    };
    assert_eq!(
        update(&formed(), &none),
        json!({
            "shown_maybe": {"old": "#3", "new": null},
            "debugged": {"old": "?4", "new": null},
            "length": {"old": 4, "new": null},
        })
    );
    let same_length = Formed {
        length: Some("five".to_owned()),
        ..formed()
    };
    assert_eq!(
        update(&formed(), &same_length),
        json!({"length": {"old": 4, "new": 4}})
    );
}

#[test]
fn a_touch_field_keeps_its_form() {
    let touched = Formed {
        touched: "zebra".to_owned(),
        ..formed()
    };
    assert_eq!(update(&formed(), &touched), Value::Null);
    let named = Formed {
        plain_name: "m".to_owned(),
        ..touched
    };
    assert_eq!(
        update(&formed(), &named),
        json!({"touched": {"old": "t", "new": "z"}, "name": {"old": "n", "new": "m"}})
    );
}
