//! The traits that `#[derive(Auditable)]` implements.

use serde::Serialize;

use crate::changes::ChangesWriter;

/// A type that knows which of its fields differ between two states of a row.
///
/// `#[derive(Auditable)]` writes the implementation. A struct that is embedded in another one
/// (`#[diesel(embed)]`) has only this part: it has no key and no table of its own.
#[diagnostic::on_unimplemented(
    message = "the changes of a `{Self}` cannot be told: it does not derive `Auditable`",
    label = "does not derive `Auditable`",
    note = "derive `Auditable` for it; a struct that another one embeds is `#[audit(embedded)]` as well"
)]
pub trait AuditFields {
    /// Writes what changed from `old` to `new`: an insert has no `old`, a delete no `new`.
    fn write_changes(old: Option<&Self>, new: Option<&Self>, out: &mut ChangesWriter);
}

/// An embedded struct that may be missing. Where it is, its columns are NULL.
impl<T: AuditFields> AuditFields for Option<T> {
    fn write_changes(old: Option<&Self>, new: Option<&Self>, out: &mut ChangesWriter) {
        let (old, new) = (old.and_then(Self::as_ref), new.and_then(Self::as_ref));
        T::write_changes(old, new, out);
    }
}

/// A model whose changes are audited.
///
/// Derive it; see the derive macro's documentation for the attributes.
pub trait Auditable: AuditFields {
    /// What kind of thing the row is, such as `users`: the table's name, with its schema where it
    /// has one, or what `#[audit(resource = "…")]` says.
    fn resource_type() -> &'static str;

    /// The row's primary key as text. A composite key is a JSON array.
    fn resource_id(&self) -> String;
}

/// Builds a [`resource_id`](Auditable::resource_id) from the parts of a primary key.
///
/// ```
/// use audit_core::IdWriter;
///
/// assert_eq!(IdWriter::new().part(&7).finish(), "7");
/// assert_eq!(IdWriter::new().part(&"a").finish(), "a");
/// assert_eq!(IdWriter::new().part(&"a").part(&7).finish(), r#"["a",7]"#);
/// ```
#[derive(Debug, Default)]
pub struct IdWriter {
    /// The parts as JSON, with commas between.
    json: Vec<u8>,
    parts: usize,
}

impl IdWriter {
    /// An id without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the value of the next key column, in the order of the table's primary key.
    ///
    /// A value that cannot be serialised becomes `null`, as it must not stop the user's statement.
    #[must_use]
    pub fn part<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.next_part();
        let start = self.json.len();
        if serde_json::to_writer(&mut self.json, value).is_err() {
            self.json.truncate(start);
            self.json.extend_from_slice(b"null");
        }
        self
    }

    /// Adds the value of the next key column, which is JSON already.
    #[must_use]
    pub fn part_of_json(mut self, json: &[u8]) -> Self {
        self.next_part();
        self.json.extend_from_slice(json);
        self
    }

    fn next_part(&mut self) {
        if self.parts > 0 {
            self.json.push(b',');
        }
        self.parts += 1;
    }

    /// The id: the bare value of a single part, a JSON array of several.
    pub fn finish(mut self) -> String {
        match (self.parts, self.json.first()) {
            // A text without its quotes.
            (1, Some(b'"')) => serde_json::from_slice(&self.json).unwrap_or_default(),
            (1, _) => text(self.json),
            _ => {
                self.json.insert(0, b'[');
                self.json.push(b']');
                text(self.json)
            }
        }
    }
}

fn text(json: Vec<u8>) -> String {
    // JSON is always UTF-8.
    String::from_utf8(json).unwrap_or_default()
}
