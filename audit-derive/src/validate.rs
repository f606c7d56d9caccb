//! What a struct says that does not fit together.

mod serde;

use std::collections::HashSet;

use audit_core::names_secret;
use syn::ext::IdentExt;
use syn::{Ident, Member};

use crate::attr::{Mark, MarkKind};
use crate::errors::Errors;
use crate::model::{Field, Maps, Model};
use crate::secret_name::to_decide;

pub(crate) fn check(model: &Model<'_>, errors: &mut Errors) {
    for field in &model.fields {
        check_marks(field, errors);
        // Who decides about a secret has decided about what serde is told as well.
        if !check_secret(model, field, errors) {
            serde::check_field(model, field, errors);
        }
    }
    serde::check_struct(model, errors);
    check_names(model, errors);
    check_left_out(model, errors);
    if model.fields.is_empty() {
        return;
    }
    match model.embedded {
        Some(_) => check_embedded(model, errors),
        None => check_key(model, errors),
    }
}

fn check_marks(field: &Field<'_>, errors: &mut Errors) {
    for (i, second) in field.marks.iter().enumerate() {
        let word = second.kind.word();
        let of_embed = word == "skip" || (word == "plain" && !field.serde.is_empty());
        if matches!(field.maps, Maps::Embed) && !of_embed {
            errors.at(second.span, on_embed(second.kind.word()));
        } else if let Some(message) = field.marks[..i]
            .iter()
            .find_map(|first| contradiction(first, second))
        {
            errors.at(second.span, message);
        }
    }
}

fn on_embed(word: &str) -> String {
    format!(
        "an embedded struct's fields are recorded one by one: write `#[audit({word})]` on the \
         fields of that struct, or `#[audit(skip)]` here to leave all of them out"
    )
}

fn contradiction(first: &Mark, second: &Mark) -> Option<String> {
    use MarkKind::{Debug, Display, Plain, Redact, Skip, Touch, With};

    let (one, other) = (first.kind.word(), second.kind.word());
    if one == other {
        return Some(format!("`{other}` is written twice: remove one"));
    }
    let why = match (&first.kind, &second.kind) {
        (Skip, _) | (_, Skip) => "a skipped field is not in the trail at all",
        (Redact, With(_) | Display | Debug | Plain)
        | (With(_) | Display | Debug | Plain, Redact) => {
            "the value of a redacted field is never written"
        }
        (Redact, Touch) | (Touch, Redact) => {
            "a change of a redacted field is always recorded, and one of a touch field is not"
        }
        (With(_) | Display | Debug, With(_) | Display | Debug) => {
            "a value is recorded in one form only"
        }
        _ => return None,
    };
    Some(format!(
        "`{one}` and `{other}` exclude each other, as {why}: remove one of them"
    ))
}

/// A field whose name says secret is decided about by who wrote it. True where it is not.
fn check_secret(model: &Model<'_>, field: &Field<'_>, errors: &mut Errors) -> bool {
    let Maps::Column(column) = &field.maps else {
        return false;
    };
    let name = match &field.member {
        Member::Named(ident) if names_secret(&ident.unraw().to_string()) => ident,
        _ if names_secret(&column.unraw().to_string()) => column,
        _ => return false,
    };
    let in_key = model.is_key(column);
    // A key is in the record as the row's id, also where it is skipped as a field.
    let decided = |word| field.has(word) && !(in_key && word == "skip");
    if field.marks_unreadable || ["redact", "plain", "skip"].into_iter().any(decided) {
        return false;
    }
    errors.at(field.span, secret_message(name, in_key));
    true
}

fn secret_message(name: &Ident, in_key: bool) -> String {
    let name = name.unraw();
    if in_key {
        return format!(
            "the name `{name}` says secret, and the key is in every record as the row's id: write \
             `#[audit(plain)]` to have it there in clear text, or `#[audit(plain, with = \
             \"path::to::function\")]` for another form of it, such as a hash"
        );
    }
    format!("the name `{name}` says secret: {}", to_decide(""))
}

/// Two fields of one name would be one in the trail.
fn check_names(model: &Model<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for field in &model.fields {
        let (name, span) = match (field.rename(), &field.maps) {
            (Some(name), _) => (name.value(), name.span()),
            (None, Maps::Column(column)) => (column.unraw().to_string(), column.span()),
            (None, _) => continue,
        };
        if !seen.insert(name.clone()) {
            errors.at(
                span,
                format!("two fields are recorded as `{name}`: write `#[audit(rename = \"…\")]` on one of them"),
            );
        }
    }
}

fn check_left_out(model: &Model<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for column in &model.left_out {
        let name = column.unraw();
        if model.field_of_column(column).is_some() {
            errors.at(
                column.span(),
                format!(
                    "the column `{name}` has a field: remove it from `leave_out`, or remove the field"
                ),
            );
        } else if !seen.insert(name.to_string()) {
            errors.at(
                column.span(),
                format!("`{name}` is left out twice: remove one"),
            );
        }
    }
}

fn check_embedded(model: &Model<'_>, errors: &mut Errors) {
    if let Some(resource) = &model.resource {
        errors.at(
            resource.span(),
            "an embedded struct is a part of a row: write `resource` on the struct that embeds it",
        );
    }
    if let Some(delivery) = &model.delivery {
        errors.at(
            delivery.span(),
            "an embedded struct is a part of a row: write `delivery` on the struct that embeds it",
        );
    }
    if let Some(column) = model.left_out.first() {
        errors.at(
            column.span(),
            "an embedded struct is a part of a row: write `leave_out` on the struct that embeds it",
        );
    }
    if let Some(column) = model.key.iter().flatten().next() {
        errors.at(
            column.span(),
            "an embedded struct has no key: write `primary_key` on the struct that embeds it",
        );
    }
}

fn check_key(model: &Model<'_>, errors: &mut Errors) {
    for column in model.key_columns() {
        match model.field_of_column(&column) {
            Some(field) => check_key_field(field, errors),
            // The field that is the key may be the one that could not be read.
            None if model.fields.iter().any(|f| matches!(f.maps, Maps::Unknown)) => {}
            None => errors.at(
                column.span(),
                missing_key(model, &column.unraw().to_string()),
            ),
        }
    }
}

fn check_key_field(field: &Field<'_>, errors: &mut Errors) {
    for mark in field.marks.iter().filter(|m| m.kind.word() == "redact") {
        errors.at(
            mark.span,
            "the key is in every record as the row's id and cannot be redacted: write \
             `#[audit(with = \"path::to::function\")]` to record another form of it, such as a hash",
        );
    }
}

fn missing_key(model: &Model<'_>, column: &str) -> String {
    if model.key.is_some() {
        return format!(
            "no field maps the key's column `{column}`: add the field, or write \
             `#[diesel(column_name = {column})]` on the one that does"
        );
    }
    format!(
        "`{}` has no field for the key's column `id`: add the field, or name the key with \
         `#[diesel(primary_key(…))]`; a struct that other structs embed is \
         `#[audit(embedded)]` and needs no key",
        model.ident
    )
}
