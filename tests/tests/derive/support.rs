//! What the tests share.

pub use std::borrow::Cow;
pub use std::marker::PhantomData;

pub use audit_diesel::{
    AuditContext, AuditFields, Auditable, AuditedBy, AuditedColumns, AuditedModel, ColumnDecision,
    Decided, Record,
};
pub use bigdecimal::BigDecimal;
pub use chrono::{DateTime, NaiveDate, Utc};
pub use diesel::prelude::*;
pub use serde::{Serialize, Serializer};
pub use serde_json::{Value, json};
pub use uuid::Uuid;

pub use super::schema::*;

pub fn changes(record: Option<Record>) -> Value {
    let changes = record.and_then(|record| record.changes);
    changes.map_or(Value::Null, |changes| changes.to_value().unwrap())
}

pub fn update<M: Auditable>(old: &M, new: &M) -> Value {
    changes(Record::update(old, new, AuditContext::default()))
}

pub fn insert<M: Auditable>(new: &M) -> Value {
    changes(Record::insert(new, AuditContext::default()))
}

pub fn delete<M: Auditable>(old: &M) -> Value {
    changes(Record::delete(old, AuditContext::default()))
}

pub fn columns_of<M: AuditedColumns>() -> Vec<&'static str> {
    let mut names = vec![];
    ColumnDecision::visit(M::COLUMNS, &mut |name, decided| {
        if decided != Decided::LeftOut {
            names.push(name);
        }
    });
    names
}

pub fn key_of<M: AuditedModel>() -> Vec<&'static str> {
    let mut names = vec![];
    M::visit_key(&mut |name| names.push(name));
    names
}

/// Proves that the table names its model.
pub fn model_of<T, M>(_table: T) -> &'static str
where
    T: AuditedBy<M>,
    M: AuditedModel<Table = T>,
{
    std::any::type_name::<M>()
}

pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// Not `Serialize` at all: the derive cannot even ask for it.
#[derive(Clone, PartialEq)]
pub struct Token(pub &'static str);

/// Neither `PartialEq` nor `Serialize`.
#[derive(Clone)]
pub struct Opaque;

#[derive(Clone, PartialEq)]
pub struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a value that must stay was serialised")
    }
}

/// Lets a type be that of a column, as a model's has to be. Nothing is loaded in these tests.
macro_rules! type_of_columns {
    ($type:ty: $($sql:ty),+) => {$(
        impl<DB: diesel::backend::Backend> diesel::deserialize::FromSql<$sql, DB> for $type {
            fn from_sql(_: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                Err("it is not loaded".into())
            }
        }

        impl<DB: diesel::backend::Backend> diesel::deserialize::Queryable<$sql, DB> for $type {
            type Row = Self;

            fn build(row: Self) -> diesel::deserialize::Result<Self> {
                Ok(row)
            }
        }
    )+};
}

pub(crate) use type_of_columns;

type_of_columns!(Panics: diesel::sql_types::Text);
