//! Reads `#[audit(…)]`, and of `#[diesel(…)]` and `#[serde(…)]` what is needed here.

mod of_field;
mod of_serde;
mod of_struct;
mod value;
mod words;

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, ExprPath, Ident, LitStr, Path, Token, Type};

use crate::attr::of_field::{diesel_field_item, field_item};
pub(crate) use crate::attr::of_serde::{Serde, SerdeSays};
use crate::attr::of_struct::{diesel_struct_item, struct_item};
use crate::attr::value::{expect_end, skip_value};
use crate::errors::Errors;

/// What the attributes of a struct say.
#[derive(Default)]
pub(crate) struct StructAttrs {
    pub(crate) resource: Option<LitStr>,
    /// The variant of `Delivery`.
    pub(crate) delivery: Option<Ident>,
    pub(crate) embedded: Option<Span>,
    pub(crate) leave_out: Option<Vec<Ident>>,
    pub(crate) krate: Option<Path>,
    pub(crate) table_name: Option<Path>,
    pub(crate) primary_key: Option<Vec<Ident>>,
    pub(crate) serde: Vec<Serde>,
}

/// What the attributes of a field say.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) marks: Vec<Mark>,
    /// Whether a mark could not be read: what the field lacks may be just that.
    pub(crate) marks_unreadable: bool,
    pub(crate) column_name: Option<Ident>,
    pub(crate) embed: bool,
    pub(crate) deserialize_as: Option<Type>,
    /// Whether a `column_name` could not be read: that it is missing then is no news.
    pub(crate) column_unreadable: bool,
    pub(crate) serde: Vec<Serde>,
}

/// One word of `#[audit(…)]` on a field.
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    pub(crate) span: Span,
}

pub(crate) enum MarkKind {
    Redact,
    Skip,
    Touch,
    Plain,
    With(ExprPath),
    Display,
    Debug,
    Rename(LitStr),
}

impl MarkKind {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Skip => "skip",
            Self::Touch => "touch",
            Self::Plain => "plain",
            Self::With(_) => "with",
            Self::Display => "display",
            Self::Debug => "debug",
            Self::Rename(_) => "rename",
        }
    }
}

pub(crate) fn read_struct(attrs: &[Attribute], errors: &mut Errors) -> StructAttrs {
    let mut read = StructAttrs {
        serde: of_serde::of_struct(attrs),
        ..StructAttrs::default()
    };
    for attr in attrs {
        if attr.path().is_ident("audit") {
            let example = "#[audit(resource = \"…\")]";
            each_item(attr, example, errors, |key, input, errors| {
                struct_item(&key, input, &mut read, errors)
            });
        } else if attr.path().is_ident("diesel") {
            each_item(
                attr,
                "#[diesel(table_name = users)]",
                errors,
                |key, input, errors| diesel_struct_item(&key, input, &mut read, errors),
            );
        }
    }
    read
}

pub(crate) fn read_field(attrs: &[Attribute], errors: &mut Errors) -> FieldAttrs {
    let mut read = FieldAttrs {
        serde: of_serde::of_field(attrs),
        ..FieldAttrs::default()
    };
    for attr in attrs {
        if attr.path().is_ident("audit") {
            let mistakes = errors.len();
            each_item(attr, "#[audit(redact)]", errors, |key, input, errors| {
                read.marks.extend(field_item(&key, input, errors)?);
                Ok(())
            });
            read.marks_unreadable |= errors.len() > mistakes;
        } else if attr.path().is_ident("diesel") {
            each_item(
                attr,
                "#[diesel(column_name = email)]",
                errors,
                |key, input, errors| diesel_field_item(&key, input, &mut read, errors),
            );
        }
    }
    read
}

/// Calls `item` at each key of the list. An item that fails is skipped, so that the mistakes of
/// the next ones are found as well.
fn each_item(
    attr: &Attribute,
    example: &str,
    errors: &mut Errors,
    mut item: impl FnMut(Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let list = match attr.meta.require_list() {
        Ok(list) if !list.tokens.is_empty() => list,
        _ => {
            let message = format!("this attribute says nothing: write for example `{example}`");
            return errors.at(attr.path().span(), message);
        }
    };
    let result = list.parse_args_with(|input: ParseStream<'_>| {
        while !input.is_empty() {
            let outcome = Ident::parse_any(input).and_then(|key| item(key, input, errors));
            let outcome = outcome.and_then(|()| expect_end(input));
            if let Err(error) = outcome {
                errors.push(error);
                skip_value(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    });
    if let Err(error) = result {
        errors.push(error);
    }
}
