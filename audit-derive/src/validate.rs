//! What a struct says that does not fit together.

use std::collections::HashSet;

use syn::ext::IdentExt;

use crate::attr::{Mark, MarkKind};
use crate::errors::Errors;
use crate::model::{Field, Maps, Model};

pub(crate) fn check(model: &Model<'_>, errors: &mut Errors) {
    for field in &model.fields {
        check_marks(field, errors);
    }
    check_names(model, errors);
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
        if matches!(field.maps, Maps::Embed) && second.kind.word() != "skip" {
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
