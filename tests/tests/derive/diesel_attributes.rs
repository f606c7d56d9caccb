//! Diesel's own attributes.

use super::support::*;

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
