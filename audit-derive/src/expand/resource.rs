//! `Auditable`: what kind of thing a row is, and which one.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};

use crate::expand::form::formed;
use crate::expand::generics;
use crate::expand::paths::{crate_at, type_span};
use crate::model::{Field, Form, Model};

pub(super) fn auditable_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let generics = generics::recorded_generics(model);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let resource = resource_type(model);
    let parts = model
        .key_fields()
        .filter(|_| usable)
        .map(|field| key_part(model, field));
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::Auditable for #ident #ty_generics #where_clause {
            fn resource_type() -> &'static str {
                #resource
            }

            fn resource_id(&self) -> #krate::__private::String {
                #krate::IdWriter::new()#(#parts)*.finish()
            }
        }
    }
}

fn resource_type(model: &Model<'_>) -> TokenStream {
    let Model { krate, table, .. } = model;
    match &model.resource {
        Some(name) => name.to_token_stream(),
        None => quote! {
            static __NAME: #krate::__private::OnceLock<#krate::__private::String> =
                #krate::__private::OnceLock::new();
            #krate::__private::table_name(#table::table, &__NAME)
        },
    }
}

fn key_part(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let member = &field.member;
    let span = type_span(field);
    match field.form() {
        Form::Itself if field.has("skip") => quote_spanned!(span=> .part(&self.#member)),
        // That the type can be serialised is asked once, where the field is recorded.
        Form::Itself => {
            let krate = crate_at(model, span);
            quote_spanned! {span=>
                .part({
                    #[allow(unused_imports)]
                    use #krate::__private::KeyWithoutForm as _;
                    #krate::__private::KeyPart(&self.#member).form()
                })
            }
        }
        form => {
            let formed = formed(model, &form, span);
            quote_spanned!(span=> .part(&{ let __value = &self.#member; #formed }))
        }
    }
}
