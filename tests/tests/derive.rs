//! What `#[derive(Auditable)]` writes, seen through the records of values. No database.

use std::borrow::Cow;
use std::marker::PhantomData;

use audit_diesel::{
    AuditContext, AuditFields, Auditable, AuditedBy, AuditedColumns, AuditedModel, Record,
};
use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

mod schema {
    diesel::table! {
        users (id) {
            id -> BigInt,
            email -> Text,
            role -> Text,
            api_token -> Text,
            login_count -> Integer,
            last_seen -> Timestamptz,
            updated_at -> Timestamptz,
        }
    }
    diesel::table! {
        every_things (id) {
            id -> Uuid,
            amount -> Numeric,
            large -> BigInt,
            document -> Jsonb,
            maybe -> Nullable<Text>,
            twice -> Nullable<Text>,
            born -> Date,
            labels -> Array<Text>,
            #[sql_name = "type"]
            type_ -> Text,
            matrix -> Array<Integer>,
        }
    }
    diesel::table! {
        blobs (id) {
            id -> Bytea,
            vec -> Bytea,
            option -> Nullable<Bytea>,
            double -> Nullable<Bytea>,
            array -> Bytea,
            boxed -> Bytea,
            cow -> Bytea,
            slice -> Nullable<Bytea>,
        }
    }
    diesel::table! {
        memberships (org_id, user_id) {
            user_id -> BigInt,
            org_id -> Text,
            role -> Text,
        }
    }
    pub(crate) mod auth {
        diesel::table! {
            auth.accounts (id) {
                id -> Integer,
                name -> Text,
            }
        }
    }
    diesel::table! {
        orders (id) {
            id -> Integer,
            bill_city -> Text,
            bill_zip -> Text,
            ship_city -> Nullable<Text>,
            ship_zip -> Nullable<Text>,
        }
    }
    diesel::table! {
        documents (id) {
            id -> Integer,
            body -> Jsonb,
            note -> Text,
            secret -> Text,
        }
    }
    diesel::table! {
        forms (id) {
            id -> Integer,
            shown -> Text,
            shown_maybe -> Nullable<Text>,
            debugged -> Nullable<Text>,
            masked -> Text,
            length -> Nullable<Text>,
            touched -> Text,
            plain_name -> Text,
        }
    }
    diesel::table! {
        stamps (id) {
            id -> Integer,
            updated_at -> Integer,
        }
    }
    diesel::table! {
        secret_stamps (id) {
            id -> Integer,
            updated_at -> Integer,
        }
    }
    diesel::table! {
        skipped_stamps (id) {
            id -> Integer,
            name -> Text,
            updated_at -> Integer,
        }
    }
    diesel::table! {
        renamed_stamps (id) {
            id -> Integer,
            updated_at -> Integer,
        }
    }
    diesel::table! {
        unknown_keys (id) {
            id -> Integer,
            name -> Text,
        }
    }
}

use schema::*;

fn changes(record: Option<Record>) -> Value {
    let changes = record.and_then(|record| record.changes);
    changes.map_or(Value::Null, |changes| changes.to_value().unwrap())
}

fn update<M: Auditable>(old: &M, new: &M) -> Value {
    changes(Record::update(old, new, AuditContext::default()))
}

fn insert<M: Auditable>(new: &M) -> Value {
    changes(Record::insert(new, AuditContext::default()))
}

fn delete<M: Auditable>(old: &M) -> Value {
    changes(Record::delete(old, AuditContext::default()))
}

fn columns_of<M: AuditedColumns>() -> Vec<&'static str> {
    let mut names = vec![];
    M::visit_columns(&mut |name| names.push(name));
    names
}

fn key_of<M: AuditedModel>() -> Vec<&'static str> {
    let mut names = vec![];
    M::visit_key(&mut |name| names.push(name));
    names
}

/// Proves that the table names its model.
fn model_of<T, M>(_table: T) -> &'static str
where
    T: AuditedBy<M>,
    M: AuditedModel<Table = T>,
{
    std::any::type_name::<M>()
}

fn selected<M: AuditedColumns>() -> String
where
    M::Columns: diesel::query_builder::QueryFragment<diesel::pg::Pg>,
{
    diesel::debug_query::<diesel::pg::Pg, _>(&M::columns()).to_string()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

// --- the model of the README ----------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Member,
    Admin,
}

/// Not `Serialize` at all: the derive cannot even ask for it.
#[derive(Clone, PartialEq)]
struct Token(&'static str);

/// Neither `PartialEq` nor `Serialize`.
#[derive(Clone)]
struct Opaque;

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
    let _: (
        users::id,
        users::email,
        users::role,
        users::api_token,
        users::login_count,
        users::last_seen,
        users::updated_at,
    ) = User::columns();
}

// --- kinds of values ------------------------------------------------------------------------

#[derive(Clone, PartialEq, Serialize)]
struct ThingId(Uuid);

/// Diesel's default table name: snake case with an `s`.
#[derive(Clone, Auditable)]
struct EveryThing {
    id: ThingId,
    amount: BigDecimal,
    large: i64,
    document: Value,
    maybe: Option<String>,
    twice: Option<Option<String>>,
    born: NaiveDate,
    labels: Vec<String>,
    r#type_: String,
    matrix: [i32; 2],
}

fn thing() -> EveryThing {
    EveryThing {
        id: ThingId(Uuid::nil()),
        amount: "12345678901234567890.12345678901234567890".parse().unwrap(),
        large: i64::MAX,
        document: json!({"a": [1, null]}),
        maybe: None,
        twice: Some(None),
        born: NaiveDate::from_ymd_opt(1815, 12, 10).unwrap(),
        labels: vec!["x".to_owned()],
        type_: "t".to_owned(),
        matrix: [1, 2],
    }
}

#[test]
fn values_are_recorded_exactly() {
    let json = Record::insert(&thing(), AuditContext::default()).unwrap();
    let json = json.changes.unwrap().as_json().to_owned();
    for expected in [
        r#""id":{"new":"00000000-0000-0000-0000-000000000000"}"#,
        r#""amount":{"new":"12345678901234567890.12345678901234567890"}"#,
        r#""large":{"new":9223372036854775807}"#,
        r#""document":{"new":{"a":[1,null]}}"#,
        r#""maybe":{"new":null}"#,
        r#""twice":{"new":null}"#,
        r#""born":{"new":"1815-12-10"}"#,
        r#""labels":{"new":["x"]}"#,
        r#""type":{"new":"t"}"#,
        r#""matrix":{"new":[1,2]}"#,
    ] {
        assert!(json.contains(expected), "{expected} in {json}");
    }
}

#[test]
fn an_option_goes_from_null_to_a_value_and_back() {
    let some = EveryThing {
        maybe: Some(String::new()),
        ..thing()
    };
    assert_eq!(
        update(&thing(), &some),
        json!({"maybe": {"old": null, "new": ""}})
    );
    assert_eq!(
        update(&some, &thing()),
        json!({"maybe": {"old": "", "new": null}})
    );
    let unset = EveryThing {
        twice: None,
        ..thing()
    };
    assert_eq!(
        update(&thing(), &unset),
        json!({"twice": {"old": null, "new": null}})
    );
}

#[test]
fn a_newtype_is_an_id() {
    assert_eq!(thing().resource_id(), Uuid::nil().to_string());
    assert_eq!(EveryThing::resource_type(), "every_things");
}

#[test]
fn a_column_goes_by_its_sql_name() {
    assert!(columns_of::<EveryThing>().contains(&"type"));
}

#[derive(Clone, Auditable)]
#[diesel(table_name = blobs)]
struct Blob<'a> {
    id: Vec<u8>,
    vec: std::vec::Vec<u8>,
    option: Option<Vec<u8>>,
    double: Option<Option<Vec<u8>>>,
    array: [u8; 3],
    boxed: Box<[u8]>,
    cow: Cow<'a, [u8]>,
    slice: Option<&'a [u8]>,
}

fn blob() -> Blob<'static> {
    Blob {
        id: b"id".to_vec(),
        vec: b"abc".to_vec(),
        option: None,
        double: Some(Some(b"abc".to_vec())),
        array: *b"abc",
        boxed: Box::from(*b"abc"),
        cow: Cow::Borrowed(b"abc"),
        slice: Some(b"abc"),
    }
}

#[test]
fn bytes_are_base64() {
    let inserted = insert(&blob());
    for name in ["vec", "double", "array", "boxed", "cow", "slice"] {
        assert_eq!(inserted[name], json!({"new": "YWJj"}), "{name}");
    }
    assert_eq!(inserted["option"], json!({"new": null}));
    let some = Blob {
        option: Some(b"abc".to_vec()),
        ..blob()
    };
    assert_eq!(
        update(&blob(), &some),
        json!({"option": {"old": null, "new": "YWJj"}})
    );
    assert_eq!(blob().resource_id(), "aWQ=");
}

#[test]
fn a_model_with_a_lifetime_is_the_tables_model() {
    assert!(model_of(blobs::table).contains("Blob"));
}

// --- keys and tables ------------------------------------------------------------------------

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
    assert!(model_of(schema::auth::accounts::table).ends_with("Account"));
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

// --- embedding ------------------------------------------------------------------------------

#[derive(Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = orders)]
#[audit(embedded)]
struct Billing {
    #[diesel(column_name = bill_city)]
    city: String,
    #[diesel(column_name = bill_zip)]
    #[audit(redact)]
    zip: String,
}

#[derive(Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = orders)]
#[audit(embedded)]
struct Shipping {
    #[diesel(column_name = ship_city)]
    city: Option<String>,
    #[diesel(column_name = ship_zip)]
    #[audit(display)]
    zip: Option<String>,
}

#[derive(Clone, Queryable, Selectable, Auditable)]
#[diesel(table_name = orders)]
struct Order {
    id: i32,
    #[diesel(embed)]
    billing: Billing,
    #[diesel(embed)]
    shipping: Option<Shipping>,
}

fn order() -> Order {
    let billing = Billing {
        city: "Turin".to_owned(),
        zip: "1".to_owned(),
    };
    Order {
        id: 1,
        billing,
        shipping: None,
    }
}

fn shipped() -> Order {
    let shipping = Shipping {
        city: Some("Rome".to_owned()),
        zip: Some("2".to_owned()),
    };
    Order {
        shipping: Some(shipping),
        ..order()
    }
}

#[test]
fn an_embedded_struct_is_recorded_by_its_columns() {
    assert_eq!(
        insert(&order()),
        json!({
            "id": {"new": 1},
            "bill_city": {"new": "Turin"},
            "bill_zip": {"redacted": true},
            "ship_city": {"new": null},
            "ship_zip": {"new": null},
        })
    );
    let mut moved = order();
    moved.billing.city = "Pisa".to_owned();
    assert_eq!(
        update(&order(), &moved),
        json!({"bill_city": {"old": "Turin", "new": "Pisa"}})
    );
}

#[test]
fn an_optional_embedded_struct_comes_and_goes() {
    assert_eq!(update(&order(), &order()), Value::Null);
    assert_eq!(update(&shipped(), &shipped()), Value::Null);
    assert_eq!(
        update(&order(), &shipped()),
        json!({"ship_city": {"old": null, "new": "Rome"}, "ship_zip": {"old": null, "new": "2"}})
    );
    assert_eq!(
        update(&shipped(), &order()),
        json!({"ship_city": {"old": "Rome", "new": null}, "ship_zip": {"old": "2", "new": null}})
    );
}

#[test]
fn a_null_column_of_an_optional_embedded_struct_has_not_changed() {
    let city = Some("Rome".to_owned());
    let half = Order {
        shipping: Some(Shipping { city, zip: None }),
        ..order()
    };
    assert_eq!(
        update(&order(), &half),
        json!({"ship_city": {"old": null, "new": "Rome"}})
    );
    let none = Order {
        shipping: Some(Shipping {
            city: None,
            zip: None,
        }),
        ..order()
    };
    assert_eq!(update(&none, &order()), Value::Null);
}

#[test]
fn the_columns_load_into_the_struct_as_diesels_own_selection_does() {
    let _loads = |conn: &mut PgConnection| {
        let query = orders::table.select(Order::columns());
        query.load::<Order>(conn)
    };
    let of = |sql: String| sql.replace(' ', "");
    let ours = diesel::debug_query::<diesel::pg::Pg, _>(&orders::table.select(Order::columns()))
        .to_string();
    let diesels =
        diesel::debug_query::<diesel::pg::Pg, _>(&orders::table.select(Order::as_select()))
            .to_string();
    assert_eq!(of(ours), of(diesels));
}

#[test]
fn embedded_columns_are_selected_in_place() {
    let names = ["id", "bill_city", "bill_zip", "ship_city", "ship_zip"];
    assert_eq!(columns_of::<Order>(), names);
    let sql = selected::<Order>();
    let mut from = 0;
    for name in names {
        let quoted = format!("\"{name}\"");
        from += sql[from..]
            .find(&quoted)
            .unwrap_or_else(|| panic!("{quoted} in order in {sql}"));
    }
}

#[derive(Auditable)]
#[diesel(table_name = orders)]
#[audit(embedded)]
struct Ignored {
    #[diesel(embed)]
    #[audit(skip)]
    #[allow(dead_code)]
    billing: Billing,
    #[diesel(embed)]
    shipping: Shipping,
}

#[test]
fn an_embedded_struct_may_embed_and_be_skipped() {
    let (billing, shipping) = (order().billing, shipped().shipping.unwrap());
    let mut out = audit_diesel::ChangesWriter::new(audit_diesel::ChangeKind::Insert);
    Ignored::write_changes(None, Some(&Ignored { billing, shipping }), &mut out);
    assert_eq!(
        out.finish().unwrap().to_value().unwrap(),
        json!({"ship_city": {"new": "Rome"}, "ship_zip": {"new": "2"}})
    );
    let names = ["bill_city", "bill_zip", "ship_city", "ship_zip"];
    assert_eq!(columns_of::<Ignored>(), names);
}

// --- generics -------------------------------------------------------------------------------

/// Two parameters with defaults: the table's model is the struct with the defaults.
#[derive(Auditable)]
#[diesel(table_name = documents)]
struct Document<T = Value, S = Token, const N: usize = 2>
where
    T: Clone,
{
    id: i32,
    body: Option<T>,
    #[audit(with = "usize_of")]
    note: Tagged<N>,
    #[audit(redact)]
    secret: S,
}

#[derive(PartialEq)]
struct Tagged<const N: usize>;

fn usize_of<const N: usize>(_: &Tagged<N>) -> usize {
    N
}

#[test]
fn a_generic_model_asks_of_its_parameters_what_its_fields_need() {
    let document = |body: &'static str| Document::<_, _, 4> {
        id: 1,
        body: Some(body),
        note: Tagged,
        secret: Token("x"),
    };
    assert_eq!(
        update(&document("a"), &document("b")),
        json!({"body": {"old": "a", "new": "b"}})
    );
    assert_eq!(insert(&document("a"))["note"], json!({"new": 4}));
    let _: fn(documents::table) -> &'static str = model_of::<_, Document<Value, Token, 2>>;
    assert!(model_of(documents::table).ends_with("Document"));
}

mod without_defaults {
    use super::*;

    diesel::table! {
        envelopes (id) {
            id -> Integer,
            body -> Jsonb,
            sender -> Text,
        }
    }

    /// A lifetime in bounds, a parameter without a default, and one that no field is of.
    #[derive(Auditable)]
    #[diesel(table_name = envelopes)]
    pub(crate) struct Envelope<'a, 'b: 'a, T: Holds<'a> + 'b>
    where
        Sender<'a, 'b>: Holds<'b>,
    {
        pub(crate) id: i32,
        #[audit(display)]
        pub(crate) body: Option<T>,
        pub(crate) sender: Sender<'a, 'b>,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Sender<'a, 'b>(pub(crate) &'a str, pub(crate) PhantomData<&'b str>);

    pub(crate) trait Holds<'a> {}
    impl Holds<'_> for i32 {}
    impl Holds<'_> for Sender<'_, '_> {}

    /// Which of them the table means is said by hand, as the documentation of `AuditedBy` shows.
    impl AuditedBy<Envelope<'static, 'static, i32>> for envelopes::table {}
}

mod generic_embedding {
    use super::*;

    diesel::table! {
        parcels (id) {
            id -> Integer,
            weight -> Integer,
            label -> Text,
            code -> Text,
        }
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Weight<T> {
        pub(crate) weight: T,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Label {
        pub(crate) label: &'static str,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    #[audit(embedded)]
    pub(crate) struct Code {
        #[allow(dead_code)]
        pub(crate) code: Panics,
    }

    #[derive(Auditable)]
    #[diesel(table_name = parcels)]
    pub(crate) struct Parcel<T, L = Label, C = Code> {
        #[audit(skip)]
        pub(crate) id: i32,
        #[diesel(embed)]
        pub(crate) weight: Weight<T>,
        #[diesel(embed)]
        pub(crate) label: Option<L>,
        #[diesel(embed)]
        #[audit(skip)]
        #[allow(dead_code)]
        pub(crate) code: C,
    }
}

#[test]
fn a_parameter_may_be_what_is_embedded_and_a_skipped_key_is_the_id() {
    use generic_embedding::{Code, Label, Parcel, Weight};
    let parcel = Parcel {
        id: 1,
        weight: Weight { weight: 2 },
        label: Some(Label { label: "l" }),
        code: Code { code: Panics },
    };
    assert_eq!(
        insert(&parcel),
        json!({"weight": {"new": 2}, "label": {"new": "l"}})
    );
    assert_eq!(parcel.resource_id(), "1");
    assert_eq!(
        columns_of::<Parcel<i32>>(),
        ["id", "weight", "label", "code"]
    );
    assert_eq!(key_of::<Parcel<i32>>(), ["id"]);
}

#[test]
fn a_model_with_parameters_without_defaults_is_named_by_hand() {
    use without_defaults::{Envelope, Sender, envelopes};
    let envelope = |body| Envelope {
        id: 1,
        body,
        sender: Sender("s", PhantomData),
    };
    assert_eq!(
        update(&envelope(None), &envelope(Some(5))),
        json!({"body": {"old": null, "new": "5"}})
    );
    assert!(model_of(envelopes::table).contains("Envelope"));
}

// --- forms and names ------------------------------------------------------------------------

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

#[derive(Clone, PartialEq)]
struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a value that must stay was serialised")
    }
}

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

// --- updated_at -----------------------------------------------------------------------------

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

// --- Diesel's own attributes ----------------------------------------------------------------

/// Beside Diesel's derives: keys of every form, and none of them ours.
#[derive(Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(treat_none_as_default_value = false, table_name = unknown_keys)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[diesel(base_query = unknown_keys::table.filter(unknown_keys::id.lt(9)), primary_key(id))]
struct WithDiesel {
    #[diesel(skip_insertion, deserialize_as = i32)]
    id: i32,
    #[diesel(serialize_as = Wrapped<String, i32>, column_name = name)]
    label: String,
}

struct Wrapped<A, B>(A, PhantomData<B>);

impl<B> From<String> for Wrapped<String, B> {
    fn from(text: String) -> Self {
        Self(text, PhantomData)
    }
}

impl<B> diesel::expression::AsExpression<diesel::sql_types::Text> for Wrapped<String, B> {
    type Expression =
        diesel::internal::derives::as_expression::Bound<diesel::sql_types::Text, String>;

    fn as_expression(self) -> Self::Expression {
        diesel::expression::AsExpression::<diesel::sql_types::Text>::as_expression(self.0)
    }
}

#[test]
fn diesel_keys_of_any_form_are_passed_over() {
    let row = WithDiesel {
        id: 1,
        label: "l".to_owned(),
    };
    assert_eq!(
        insert(&row),
        json!({"id": {"new": 1}, "name": {"new": "l"}})
    );
    assert_eq!(columns_of::<WithDiesel>(), ["id", "name"]);
}
