//! `AuditFields`: which fields differ.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Ident;

use crate::expand::form::formed;
use crate::expand::generics;
use crate::expand::paths::{column_name, crate_at, type_span};
use crate::model::{Field, Form, Maps, Model, Treatment};

pub(super) fn fields_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let generics = generics::recorded_generics(model);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let fields: TokenStream = match usable {
        true => model
            .fields
            .iter()
            .map(|field| write_field(model, field))
            .collect(),
        false => TokenStream::new(),
    };
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::AuditFields for #ident #ty_generics #where_clause {
            fn write_changes(
                __old: ::core::option::Option<&Self>,
                __new: ::core::option::Option<&Self>,
                __out: &mut #krate::ChangesWriter,
            ) {
                #fields
            }
        }
    }
}

fn write_field(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let span = type_span(field);
    let krate = crate_at(model, span);
    let member = &field.member;
    let name = name(model, field);
    let sides = quote_spanned! {span=>
        match __old {
            ::core::option::Option::Some(__row) => ::core::option::Option::Some(&__row.#member),
            ::core::option::Option::None => ::core::option::Option::None,
        },
        match __new {
            ::core::option::Option::Some(__row) => ::core::option::Option::Some(&__row.#member),
            ::core::option::Option::None => ::core::option::Option::None,
        }
    };
    match field.treatment() {
        Treatment::Skipped => TokenStream::new(),
        _ if matches!(field.maps, Maps::Embed) => {
            quote_spanned!(span=> #krate::AuditFields::write_changes(#sides, __out);)
        }
        Treatment::Redacted => quote_spanned!(span=> __out.redacted(#name, #sides);),
        Treatment::Recorded {
            touch,
            form: Form::Itself,
        } => {
            let method = Ident::new(if touch { "touch" } else { "field" }, span);
            quote_spanned!(span=> __out.#method(#name, #sides);)
        }
        Treatment::Recorded { touch, form } => {
            let formed = formed(model, &form, span);
            quote_spanned!(span=> __out.field_as(#name, #sides, #touch, |__value| #formed);)
        }
    }
}

/// The field's name in the trail. A column's name is unique in the row, which a field's is not
/// where structs are embedded.
fn name(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    match (field.rename(), &field.maps) {
        (Some(name), _) => name.to_token_stream(),
        (None, Maps::Column(column)) => column_name(model, column),
        (None, _) => TokenStream::new(),
    }
}
