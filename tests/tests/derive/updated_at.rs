//! Fields named `updated_at`.

use super::support::*;

#[derive(Auditable)]
struct Stamp {
    id: i32,
    #[audit(plain)]
    updated_at: i32,
}

#[derive(Auditable)]
struct SecretStamp {
    id: i32,
    #[audit(redact)]
    updated_at: i32,
}

#[derive(Auditable)]
struct SkippedStamp {
    id: i32,
    name: String,
    #[audit(skip)]
    #[allow(dead_code)]
    updated_at: Opaque,
}

#[derive(Auditable)]
struct RenamedStamp {
    id: i32,
    #[audit(rename = "changed")]
    #[diesel(column_name = updated_at)]
    at: i32,
}

#[test]
fn updated_at_is_touch_unless_something_else_is_said() {
    let (id, at) = (1, 5);
    assert_eq!(
        update(&Stamp { id, updated_at: 4 }, &Stamp { id, updated_at: 5 }),
        json!({"updated_at": {"old": 4, "new": 5}})
    );
    assert_eq!(
        update(
            &SecretStamp { id, updated_at: 4 },
            &SecretStamp { id, updated_at: 5 }
        ),
        json!({"updated_at": {"redacted": true}})
    );
    assert_eq!(
        update(&RenamedStamp { id, at: 4 }, &RenamedStamp { id, at }),
        Value::Null
    );
    assert_eq!(
        update(&RenamedStamp { id, at: 4 }, &RenamedStamp { id: 2, at }),
        json!({"id": {"old": 1, "new": 2}, "changed": {"old": 4, "new": 5}})
    );
    let skipped = SkippedStamp {
        id,
        name: "n".to_owned(),
        updated_at: Opaque,
    };
    assert_eq!(
        insert(&skipped),
        json!({"id": {"new": 1}, "name": {"new": "n"}})
    );
}
