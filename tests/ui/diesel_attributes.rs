//! What Diesel's attributes must say, and what a model cannot be.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text, mail -> Text, tel -> Text } }
diesel::table! { pairs (id) { id -> Integer, name -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users, table_name = pairs)]
struct User {
    id: i32,
    #[diesel(select_expression = users::name.concat(users::mail), select_expression_type = X<A, B>)]
    name: String,
    #[diesel(column_name(mail))]
    mail: String,
    #[audit(rename = "id")]
    tel: String,
}

#[derive(Auditable)]
#[diesel(table_name = pairs, primary_key = id)]
struct Pair(#[diesel(column_name = id)] i32, String);

fn main() {}
