//! The paths that generated code names, and where their mistakes are shown.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Ident;

use crate::model::{Field, Model};

/// Where a mistake in the field's type is shown.
pub(super) fn type_span(field: &Field<'_>) -> Span {
    Span::call_site().located_at(first_span(field))
}

pub(super) fn first_span(field: &Field<'_>) -> Span {
    let first = field.ty.to_token_stream().into_iter().next();
    first.map_or(field.span, |token| token.span())
}

/// The path of `audit_diesel`, for a call in which a mistake is shown at the span.
pub(super) fn crate_at(model: &Model<'_>, span: Span) -> TokenStream {
    let tokens = model.krate.to_token_stream().into_iter();
    let moved = tokens.map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}

pub(super) fn column_name(model: &Model<'_>, column: &Ident) -> TokenStream {
    let Model { krate, table, .. } = model;
    quote!(<#table::#column as #krate::__private::diesel::Column>::NAME)
}
