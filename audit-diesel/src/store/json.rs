//! JSON text on its way into and out of the tables.

use serde_json::Value;

/// JSON text that is stored as it is, without being read.
#[derive(Debug, Clone, Copy, diesel::expression::AsExpression)]
#[cfg_attr(feature = "postgres", diesel(sql_type = diesel::sql_types::Jsonb))]
#[cfg_attr(feature = "sqlite", diesel(sql_type = diesel::sql_types::Json))]
pub(crate) struct RawJson<'a>(pub(crate) &'a str);

/// JSON out of the tables. PostgreSQL stores numbers that no `f64` holds; a value that
/// `serde_json` cannot read is handed out as its text rather than failing the whole query.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
pub struct StoredJson(Value);

impl StoredJson {
    fn read(text: &[u8]) -> Self {
        Self(
            serde_json::from_slice(text)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned())),
        )
    }
}

impl From<StoredJson> for Value {
    fn from(stored: StoredJson) -> Self {
        stored.0
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::io::Write;

    use diesel::deserialize::{self, FromSql};
    use diesel::pg::{Pg, PgValue};
    use diesel::serialize::{self, IsNull, Output, ToSql};
    use diesel::sql_types::Jsonb;

    use super::{RawJson, StoredJson};

    /// The version byte in front of jsonb in PostgreSQL's binary format.
    const JSONB_VERSION: u8 = 1;

    impl ToSql<Jsonb, Pg> for RawJson<'_> {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            out.write_all(&[JSONB_VERSION])?;
            out.write_all(self.0.as_bytes())?;
            Ok(IsNull::No)
        }
    }

    impl FromSql<Jsonb, Pg> for StoredJson {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            match value.as_bytes() {
                [JSONB_VERSION, text @ ..] => Ok(Self::read(text)),
                _ => Err("unsupported jsonb version".into()),
            }
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use diesel::deserialize::{self, FromSql};
    use diesel::serialize::{self, IsNull, Output, ToSql};
    use diesel::sql_types::{Json, Text};
    use diesel::sqlite::{Sqlite, SqliteValue};

    use super::{RawJson, StoredJson};

    impl ToSql<Json, Sqlite> for RawJson<'_> {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
            out.set_value(self.0);
            Ok(IsNull::No)
        }
    }

    impl FromSql<Json, Sqlite> for StoredJson {
        fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
            let text = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
            Ok(Self::read(text.as_bytes()))
        }
    }
}
