//! The README's model: what each field comes to.

use super::support::*;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Member,
    Admin,
}

type_of_columns!(Role: diesel::sql_types::Text);

#[derive(Clone, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    email: String,
    role: Role,
    #[audit(redact)]
    api_token: Token,
    #[audit(skip)]
    #[allow(dead_code)]
    login_count: Opaque,
    #[audit(touch)]
    last_seen: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn ada() -> User {
    User {
        id: 7,
        email: "ada@example.org".to_owned(),
        role: Role::Member,
        api_token: Token("hunter2"),
        login_count: Opaque,
        last_seen: at(1),
        updated_at: at(2),
    }
}

#[test]
fn an_insert_has_the_new_value_of_every_audited_field() {
    assert_eq!(
        insert(&ada()),
        json!({
            "id": {"new": 7},
            "email": {"new": "ada@example.org"},
            "role": {"new": "member"},
            "api_token": {"redacted": true},
            "last_seen": {"new": "1970-01-01T00:00:01Z"},
            "updated_at": {"new": "1970-01-01T00:00:02Z"},
        })
    );
}

#[test]
fn a_delete_has_the_old_value_of_every_audited_field() {
    let deleted = delete(&ada());
    assert_eq!(deleted["email"], json!({"old": "ada@example.org"}));
    assert_eq!(deleted["api_token"], json!({"redacted": true}));
    assert_eq!(deleted.as_object().unwrap().len(), 6);
}

#[test]
fn an_update_has_the_changed_fields_only() {
    let new = User {
        role: Role::Admin,
        ..ada()
    };
    assert_eq!(
        update(&ada(), &new),
        json!({"role": {"old": "member", "new": "admin"}})
    );
    assert_eq!(update(&ada(), &ada()), Value::Null);
}

#[test]
fn touch_fields_alone_make_no_record_and_stand_beside_other_changes() {
    let touched = User {
        last_seen: at(8),
        updated_at: at(9),
        ..ada()
    };
    assert_eq!(update(&ada(), &touched), Value::Null);

    let changed = User {
        role: Role::Admin,
        ..touched
    };
    let changed = update(&ada(), &changed);
    assert_eq!(changed["updated_at"]["new"], "1970-01-01T00:00:09Z");
    assert_eq!(changed["last_seen"]["new"], "1970-01-01T00:00:08Z");
    assert_eq!(changed["role"]["new"], "admin");
}

#[test]
fn a_redacted_field_says_that_it_changed_and_nothing_else() {
    let new = User {
        api_token: Token("hunter3"),
        ..ada()
    };
    let record = Record::update(&ada(), &new, AuditContext::default()).unwrap();
    assert!(!format!("{record:?}").contains("hunter"));
    assert_eq!(
        changes(Some(record)),
        json!({"api_token": {"redacted": true}})
    );
}

#[test]
fn a_record_names_the_row() {
    let record = Record::insert(&ada(), AuditContext::default()).unwrap();
    assert_eq!(record.resource_type.as_deref(), Some("users"));
    assert_eq!(record.resource_id.as_deref(), Some("7"));
    assert!(model_of(users::table).ends_with("User"));
}

#[test]
fn the_columns_are_all_fields_in_order() {
    let all = [
        "id",
        "email",
        "role",
        "api_token",
        "login_count",
        "last_seen",
        "updated_at",
    ];
    assert_eq!(columns_of::<User>(), all);
    assert_eq!(key_of::<User>(), ["id"]);
}
