//! The value of a key, in the forms that there are.

use proc_macro2::Span;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Ident, LitStr, Token, Type};

use crate::errors::Errors;

pub(super) fn expect_end(input: ParseStream<'_>) -> syn::Result<()> {
    if at_end(input) {
        Ok(())
    } else {
        Err(input.error("expected `,` before this"))
    }
}

pub(super) fn at_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

pub(super) fn diesel_value<T>(
    key: &Ident,
    input: ParseStream<'_>,
    example: &str,
    parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<T> {
    input
        .parse::<Token![=]>()
        .and_then(|_| parse(input))
        .and_then(|value| expect_end(input).map(|()| value))
        .map_err(|_| diesel_format_error(key.span(), example))
}

pub(super) fn text(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<LitStr> {
    input
        .parse::<Token![=]>()
        .and_then(|_| input.parse::<LitStr>())
        .and_then(|value| expect_end(input).map(|()| value))
        .map_err(|_| format_error(key.span(), example))
}

pub(super) fn bare(key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if at_end(input) {
        return Ok(());
    }
    let message = format!("`{key}` takes no value: write `#[audit({key})]`");
    Err(syn::Error::new(key.span(), message))
}

pub(super) fn once<T>(slot: &mut Option<T>, value: T, key: &Ident, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(key.span(), format!("`{key}` is written twice: remove one"));
    }
    *slot = Some(value);
}

pub(super) fn format_error(span: Span, example: &str) -> syn::Error {
    syn::Error::new(span, format!("write `#[audit({example})]`"))
}

pub(super) fn diesel_format_error(span: Span, example: &str) -> syn::Error {
    syn::Error::new(span, format!("write `#[diesel({example})]`"))
}

/// Goes to the end of a value of whatever form: `= HashMap<K, V>`, `= a.lt(b)`, `(a, b)`, nothing.
pub(super) fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    if input.parse::<Option<Token![=]>>()?.is_some() && (skip::<Type>(input) || skip::<Expr>(input))
    {
        return Ok(());
    }
    while !at_end(input) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Skips a `T` where one stands before the item's end. A type is tried before an expression,
/// which would end at the comma of `HashMap<K, V>`.
fn skip<T: Parse>(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let found = ahead.parse::<T>().is_ok() && at_end(&ahead);
    if found {
        input.advance_to(&ahead);
    }
    found
}
