//! What is said of a field.

use syn::parse::{Parse, ParseStream};
use syn::{ExprPath, Ident, LitStr, Type};

use crate::attr::value::{bare, diesel_value, format_error, once, skip_value, text};
use crate::attr::words::{FIELD_KEYS, STRUCT_KEYS, unknown};
use crate::attr::{FieldAttrs, Mark, MarkKind};
use crate::errors::Errors;

pub(super) fn field_item(
    key: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> syn::Result<Option<Mark>> {
    let kind = match key.to_string().as_str() {
        "redact" => bare(key, input).map(|()| MarkKind::Redact)?,
        "skip" => bare(key, input).map(|()| MarkKind::Skip)?,
        "touch" => bare(key, input).map(|()| MarkKind::Touch)?,
        "plain" => bare(key, input).map(|()| MarkKind::Plain)?,
        "display" => bare(key, input).map(|()| MarkKind::Display)?,
        "debug" => bare(key, input).map(|()| MarkKind::Debug)?,
        "with" => with_item(key, input)?,
        "rename" => {
            let name = text(key, input, "rename = \"name\"")?;
            if name.value().is_empty() {
                errors.at(
                    name.span(),
                    "a field needs a name in the trail: write `rename = \"name\"`",
                );
                return Ok(None);
            }
            MarkKind::Rename(name)
        }
        word if STRUCT_KEYS.contains(&word) => {
            return Err(syn::Error::new(
                key.span(),
                format!(
                    "`{word}` is said of the struct: move it to an `#[audit(…)]` above the struct"
                ),
            ));
        }
        word => return Err(unknown(key, word, FIELD_KEYS, "a field")),
    };
    let span = key.span();
    Ok(Some(Mark { kind, span }))
}

fn with_item(key: &Ident, input: ParseStream<'_>) -> syn::Result<MarkKind> {
    let example = "with = \"path::to::function\"";
    let path = text(key, input, example)?;
    path.parse::<ExprPath>()
        .map(MarkKind::With)
        .map_err(|_| format_error(path.span(), example))
}

pub(super) fn diesel_field_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut FieldAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "column_name" => {
            read.column_unreadable = true;
            let column = diesel_value(key, input, "column_name = email", column_ident)?;
            read.column_unreadable = false;
            once(&mut read.column_name, column, key, errors);
        }
        "embed" => read.embed = true,
        "deserialize_as" => {
            let ty = diesel_value(key, input, "deserialize_as = String", Type::parse)?;
            read.deserialize_as = Some(ty);
        }
        "select_expression" => {
            errors.at(
                key.span(),
                "an audited model holds the columns of its table as they are: name the column \
                 here, and select expressions into another struct that derives `Queryable` only",
            );
            // What follows is no column, and there is nothing more to say about it.
            read.column_unreadable = true;
            skip_value(input)?;
        }
        _ => skip_value(input)?,
    }
    Ok(())
}

/// A column's name, which Diesel takes with and without quotes.
fn column_ident(input: ParseStream<'_>) -> syn::Result<Ident> {
    if !input.peek(LitStr) {
        return input.parse();
    }
    let name: LitStr = input.parse()?;
    name.parse::<Ident>().or_else(|_| {
        let mut ident: Ident = syn::parse_str(&format!("r#{}", name.value()))?;
        ident.set_span(name.span());
        Ok(ident)
    })
}
