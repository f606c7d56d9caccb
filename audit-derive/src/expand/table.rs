//! `AuditedModel` and `AuditedBy`: which table the model maps, and that it is the only one.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::GenericParam;

use crate::expand::generics;
use crate::expand::paths::{column_name, crate_at};
use crate::model::{Maps, Model};

pub(super) fn model_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model {
        ident,
        krate,
        table,
        ..
    } = model;
    let mut generics = generics::static_generics(model);
    generics::extend_where(&mut generics, generics::embedded_bounds(model));
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let impl_generics = generics::static_lifetimes(model, impl_generics.to_token_stream());
    let ty = generics::static_lifetimes(model, model.generics.split_for_impl().1.to_token_stream());
    let key = model.key_fields().filter_map(|field| match &field.maps {
        Maps::Column(column) => Some(column_name(model, column)),
        _ => None,
    });
    let only_model = only_model(model).filter(|_| usable);
    let delivery = model.delivery.as_ref().map(|mode| {
        quote! {
            const DELIVERY: ::core::option::Option<#krate::Delivery> =
                ::core::option::Option::Some(#krate::Delivery::#mode);
        }
    });
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::AuditedModel for #ident #ty #where_clause {
            type Table = #table::table;

            #delivery

            fn visit_key(__visit: &mut dyn ::core::ops::FnMut(&'static str)) {
                #only_model
                #(__visit(#key);)*
            }
        }
    }
}

/// Does not compile where a second model names the same table.
fn only_model(model: &Model<'_>) -> Option<TokenStream> {
    default_instance(model)?;
    let table = &model.table;
    let span = Span::call_site().located_at(model.ident.span());
    let krate = crate_at(model, span);
    Some(quote_spanned!(span=> #krate::__private::one_model_for_each_table(#table::table);))
}

pub(super) fn audited_by_impl(model: &Model<'_>) -> TokenStream {
    let Model {
        ident,
        krate,
        table,
        ..
    } = model;
    match default_instance(model) {
        Some(generics) => quote! {
            #[automatically_derived]
            impl #krate::AuditedBy<#ident #generics> for #table::table {}
        },
        None => TokenStream::new(),
    }
}

/// The generic arguments of the model that the table names: the defaults of its parameters. None
/// where one has no default.
fn default_instance(model: &Model<'_>) -> Option<TokenStream> {
    let all = model.generics.params.iter().all(|param| match param {
        GenericParam::Lifetime(_) => true,
        GenericParam::Type(param) => param.default.is_some(),
        GenericParam::Const(param) => param.default.is_some(),
    });
    let lifetimes: Vec<_> = model
        .generics
        .lifetimes()
        .map(|_| quote!('static))
        .collect();
    match (all, lifetimes.is_empty()) {
        (false, _) => None,
        (true, true) => Some(TokenStream::new()),
        (true, false) => Some(quote!(<#(#lifetimes),*>)),
    }
}
