//! In which form a value is recorded.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use crate::expand::paths::crate_at;
use crate::model::{Form, Inner, Model};

/// What is serialised of `__value`, a reference to the field.
pub(super) fn formed(model: &Model<'_>, form: &Form<'_>, span: Span) -> TokenStream {
    let krate = crate_at(model, span);
    match form {
        Form::Itself => quote_spanned!(span=> __value),
        Form::With(path) => quote_spanned!(span=> #path(__value)),
        Form::Display(inner) => within_options(
            inner,
            &quote_spanned!(span=> #krate::__private::display),
            span,
        ),
        Form::Debug(inner) => within_options(
            inner,
            &quote_spanned!(span=> #krate::__private::debug),
            span,
        ),
        Form::Bytes(inner) => within_options(inner, &quote_spanned!(span=> #krate::base64), span),
    }
}

fn within_options(inner: &Inner<'_>, function: &TokenStream, span: Span) -> TokenStream {
    (0..inner.options).fold(quote_spanned!(span=> #function(__value)), |formed, _| {
        quote_spanned! {span=>
            ::core::option::Option::map(
                ::core::option::Option::as_ref(__value),
                |__value| #formed,
            )
        }
    })
}
