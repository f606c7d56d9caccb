//! What serde is told about a field, and the trail does not know: the author decides.

use proc_macro2::Span;
use syn::ext::IdentExt;

use crate::attr::{Serde, SerdeSays};
use crate::errors::Errors;
use crate::model::{Field, Maps, Model};

/// What decides how a field's value is in the trail.
const DECISIONS: &[&str] = &["skip", "redact", "plain", "with", "display", "debug"];

/// One message for what the struct says to serde, about all fields that are undecided.
pub(super) fn check_struct(model: &Model<'_>, errors: &mut Errors) {
    let Some(into) = model.serde.first() else {
        return;
    };
    if model.fields.iter().any(|field| field.marks_unreadable) {
        return;
    }
    let columns = model.fields.iter().filter_map(|field| match &field.maps {
        // One that has a message of its own needs no second one.
        Maps::Column(column) if !is_decided(model, field) && undecided(model, field).is_none() => {
            Some(column)
        }
        _ => None,
    });
    let columns: Vec<String> = columns
        .map(|column| format!("`{}`", column.unraw()))
        .collect();
    if !columns.is_empty() {
        errors.at(into.span, into_message(&columns.join(", ")));
    }
}

/// One message for what a field says to serde.
pub(super) fn check_field(model: &Model<'_>, field: &Field<'_>, errors: &mut Errors) {
    if let Some((span, message)) = undecided(model, field) {
        errors.at(span, message);
    }
}

fn undecided(model: &Model<'_>, field: &Field<'_>) -> Option<(Span, String)> {
    if field.marks_unreadable || is_decided(model, field) {
        return None;
    }
    let first = |is: fn(&Serde) -> bool| field.serde.iter().find(|serde| is(serde));
    // What hides the value weighs more than what it is called.
    let serde = first(|serde| !matches!(serde.says, SerdeSays::Rename(_)))
        .or_else(|| first(|serde| matches!(serde.says, SerdeSays::Rename(_))))?;
    let message = match &field.maps {
        Maps::Embed => message_on_embed(&serde.says)?,
        Maps::Column(column) => {
            let name = column.unraw().to_string();
            match model.is_key(column) {
                true => message_on_key(&serde.says, field, &name)?,
                false => message(&serde.says, field, &name)?,
            }
        }
        Maps::Unknown => return None,
    };
    Some((serde.span, message))
}

fn is_decided(model: &Model<'_>, field: &Field<'_>) -> bool {
    let in_key = matches!(&field.maps, Maps::Column(column) if model.is_key(column));
    // A key is in the record as the row's id, also where it is skipped as a field.
    let decides = |word: &&&str| field.has(word) && !(in_key && **word == "skip");
    DECISIONS.iter().any(|word| decides(&word))
}

fn message(says: &SerdeSays, field: &Field<'_>, column: &str) -> Option<String> {
    Some(match says {
        SerdeSays::Hide => "serde leaves this value out, and the trail would show it: write \
             `#[audit(skip)]` to leave it out of the trail, `#[audit(redact)]` to record that it \
             changed and never the value, or `#[audit(plain)]` to record it in clear text"
            .to_owned(),
        SerdeSays::Reshape => "serde writes this value in another form, and the trail would show \
             the value itself: write `#[audit(with = \"path::to::function\")]` for the form that is \
             recorded, `#[audit(plain)]` for the value itself, or `redact` or `skip`"
            .to_owned(),
        SerdeSays::Flatten => format!(
            "serde writes what is in this value among the other fields, and the trail would show \
             it as one value, `{column}`: write `#[audit(plain)]` if that is meant, or `with`, \
             `redact` or `skip`"
        ),
        SerdeSays::Rename(name) => {
            if name == column || field.has("rename") {
                return None;
            }
            format!(
                "serde calls this field `{name}`, and the trail would call it `{column}`, as its \
                 column is called: write `#[audit(rename = \"{name}\")]`, or `#[audit(plain)]` to \
                 leave it at that (`with`, `redact` and `skip` say so as well)"
            )
        }
        SerdeSays::Into => return None,
    })
}

fn message_on_key(says: &SerdeSays, field: &Field<'_>, column: &str) -> Option<String> {
    match says {
        SerdeSays::Rename(_) => message(says, field, column),
        _ => Some(
            "serde leaves this value out or writes it in another form, and the key is in every \
             record as the row's id: write `#[audit(plain)]` to have it there as it is, or \
             `#[audit(with = \"path::to::function\")]` for another form of it, such as a hash"
                .to_owned(),
        ),
    }
}

/// An embedded struct's fields stand among the others in the trail as well, each by its own name.
fn message_on_embed(says: &SerdeSays) -> Option<String> {
    match says {
        SerdeSays::Hide | SerdeSays::Reshape => Some(
            "serde leaves this struct out or writes it in another form, and the trail would show \
             each of its fields: write `#[audit(skip)]` to leave all of them out of the trail, or \
             `#[audit(plain)]` to record them as that struct says"
                .to_owned(),
        ),
        SerdeSays::Flatten | SerdeSays::Rename(_) | SerdeSays::Into => None,
    }
}

fn into_message(fields: &str) -> String {
    format!(
        "serde writes another struct in this one's place, which may hide some of its fields, and \
         the trail would show each: write `#[audit(plain)]`, `redact`, `skip` or `with` on {fields}"
    )
}
