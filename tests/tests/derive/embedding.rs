//! Embedded structs.

use super::support::*;

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
fn embedded_columns_stand_in_their_place() {
    let names = ["id", "bill_city", "bill_zip", "ship_city", "ship_zip"];
    assert_eq!(columns_of::<Order>(), names);
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
