//! Kinds of values.

use super::support::*;

#[derive(Clone, PartialEq, Serialize)]
struct ThingId(Uuid);

type_of_columns!(ThingId: diesel::sql_types::Uuid);

/// Diesel's default table name: snake case with an `s`.
#[derive(Clone, Auditable)]
struct EveryThing {
    id: ThingId,
    amount: BigDecimal,
    large: i64,
    document: Value,
    maybe: Option<String>,
    #[diesel(deserialize_as = Option<String>)]
    twice: Option<Option<String>>,
    born: NaiveDate,
    labels: Vec<String>,
    r#type_: String,
    #[diesel(deserialize_as = Vec<i32>)]
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
    #[diesel(deserialize_as = Option<Vec<u8>>)]
    double: Option<Option<Vec<u8>>>,
    #[diesel(deserialize_as = Vec<u8>)]
    array: [u8; 3],
    #[diesel(deserialize_as = Vec<u8>)]
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
