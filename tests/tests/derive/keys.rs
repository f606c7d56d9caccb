//! Keys and tables.

use super::support::*;

#[derive(Auditable)]
#[diesel(table_name = memberships, primary_key(org_id, user_id))]
#[diesel(belongs_to(User), check_for_backend(diesel::pg::Pg))]
#[audit(resource = "membership")]
struct Membership {
    user_id: i64,
    #[audit(with = "loud")]
    org_id: String,
    role: String,
}

fn loud(text: &str) -> String {
    text.to_uppercase()
}

#[test]
fn a_composite_key_is_an_array_in_the_order_of_the_key() {
    let membership = Membership {
        user_id: 7,
        org_id: "acme".to_owned(),
        role: "r".to_owned(),
    };
    assert_eq!(membership.resource_id(), r#"["ACME",7]"#);
    assert_eq!(key_of::<Membership>(), ["org_id", "user_id"]);
    assert_eq!(columns_of::<Membership>(), ["user_id", "org_id", "role"]);
    assert_eq!(Membership::resource_type(), "membership");
    assert_eq!(insert(&membership)["org_id"], json!({"new": "ACME"}));
}

#[derive(Auditable)]
#[diesel(table_name = crate::schema::auth::accounts)]
struct Account {
    id: i32,
    name: String,
}

#[test]
fn a_table_in_a_postgres_schema_is_named_with_it() {
    let account = Account {
        id: 1,
        name: "a".to_owned(),
    };
    assert_eq!(Account::resource_type(), "auth.accounts");
    assert_eq!(insert(&account)["name"], json!({"new": "a"}));
    assert!(model_of(auth::accounts::table).ends_with("Account"));
}

#[derive(Auditable)]
#[diesel(table_name = audit_tests::foreign_schema::foreign_things)]
struct ForeignThing(
    #[diesel(column_name = id)] i32,
    #[diesel(column_name = "name")] String,
);

#[test]
fn a_tuple_struct_maps_a_table_of_another_crate() {
    let thing = ForeignThing(3, "x".to_owned());
    assert_eq!(thing.resource_id(), "3");
    assert_eq!(
        insert(&thing),
        json!({"id": {"new": 3}, "name": {"new": "x"}})
    );
    assert_eq!(columns_of::<ForeignThing>(), ["id", "name"]);
    let table = audit_tests::foreign_schema::foreign_things::table;
    assert!(model_of(table).ends_with("ForeignThing"));
}
