//! What is said of a struct.

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Path, Token};

use crate::attr::StructAttrs;
use crate::attr::value::{
    bare, diesel_format_error, diesel_value, format_error, once, skip_value, text,
};
use crate::attr::words::{FIELD_KEYS, STRUCT_KEYS, unknown};
use crate::errors::Errors;

/// What `delivery` may say, and the variant of `Delivery` that is meant.
const DELIVERIES: &[(&str, &str)] = &[
    ("after_commit", "AfterCommit"),
    ("prepared", "Prepared"),
    ("transactional", "Transactional"),
];

pub(super) fn struct_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut StructAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "resource" => {
            let name = text(key, input, "resource = \"users\"")?;
            once(&mut read.resource, name, key, errors);
        }
        "delivery" => {
            let mode = delivery(&text(key, input, "delivery = \"transactional\"")?)?;
            once(&mut read.delivery, mode, key, errors);
        }
        "embedded" => {
            bare(key, input)?;
            once(&mut read.embedded, key.span(), key, errors);
        }
        "leave_out" => {
            let example = "leave_out(search_vector, thumbnail)";
            let columns = columns(input).map_err(|_| format_error(key.span(), example))?;
            once(&mut read.leave_out, columns, key, errors);
        }
        "crate" => {
            let example = "crate = \"::my_crate::audit_diesel\"";
            let path = text(key, input, example)?;
            let path = path
                .parse_with(Path::parse_mod_style)
                .map_err(|_| format_error(path.span(), example))?;
            once(&mut read.krate, path, key, errors);
        }
        word if FIELD_KEYS.contains(&word) => {
            return Err(syn::Error::new(
                key.span(),
                format!(
                    "`{word}` is said of a field: write `#[audit({word})]` on the field that is meant"
                ),
            ));
        }
        word => return Err(unknown(key, word, STRUCT_KEYS, "a struct")),
    }
    Ok(())
}

fn delivery(word: &LitStr) -> syn::Result<Ident> {
    let said = word.value();
    match DELIVERIES.iter().find(|(valid, _)| *valid == said) {
        Some((_, variant)) => Ok(Ident::new(variant, word.span())),
        None => {
            let valid: Vec<_> = DELIVERIES.iter().map(|(valid, _)| *valid).collect();
            let valid = valid.join("\"`, `\"");
            let message = format!("`\"{said}\"` is no delivery mode: there are `\"{valid}\"`");
            Err(syn::Error::new(word.span(), message))
        }
    }
}

pub(super) fn diesel_struct_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut StructAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "table_name" => {
            let path = diesel_value(key, input, "table_name = users", Path::parse_mod_style)?;
            if read.table_name.is_some() {
                errors.at(
                    key.span(),
                    "a model maps one table: remove this `table_name`",
                );
            } else {
                read.table_name = Some(path);
            }
        }
        "primary_key" => {
            let columns = columns(input)
                .map_err(|_| diesel_format_error(key.span(), "primary_key(user_id, role)"))?;
            once(&mut read.primary_key, columns, key, errors);
        }
        _ => skip_value(input)?,
    }
    Ok(())
}

fn columns(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let content;
    syn::parenthesized!(content in input);
    let columns = content.parse_terminated(Ident::parse_any, Token![,])?;
    let columns: Vec<_> = columns.into_iter().map(usable).collect();
    if columns.is_empty() {
        return Err(content.error("no column"));
    }
    Ok(columns)
}

/// The name as code has to write it: `r#type` for a column that is called `type`.
fn usable(name: Ident) -> Ident {
    if syn::parse2::<Ident>(name.to_token_stream()).is_ok() {
        return name;
    }
    let raw = syn::parse_str::<Ident>(&format!("r#{name}"));
    raw.map_or(name.clone(), |mut raw| {
        raw.set_span(name.span());
        raw
    })
}
