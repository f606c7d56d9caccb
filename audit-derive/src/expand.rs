//! Writes the implementations: one file for each trait, and what they share.

mod columns;
mod fields;
mod form;
mod generics;
mod paths;
mod resource;
mod row;
mod table;

use proc_macro2::TokenStream;
use quote::quote;

use crate::errors::Errors;
use crate::model::Model;

/// The implementations. Where the struct has mistakes, they are there with nothing in them, so
/// that one mistake gives one message.
pub(crate) fn expand(model: &Model<'_>, errors: Errors) -> TokenStream {
    let usable = errors.is_empty();
    let parts = [
        fields::fields_impl(model, usable),
        columns::columns_impl(model),
        row::row_impl(model, usable),
        row_impls(model, usable),
    ];
    let errors = errors.into_compile_errors();
    quote! {
        const _: () = {
            #(#parts)*
        };
        #errors
    }
}

fn row_impls(model: &Model<'_>, usable: bool) -> TokenStream {
    if model.embedded.is_some() {
        return TokenStream::new();
    }
    let parts = [
        resource::auditable_impl(model, usable),
        table::model_impl(model, usable),
        table::audited_by_impl(model),
    ];
    parts.into_iter().collect()
}
