//! `AuditedColumns`: which columns the struct maps, and what was decided about each.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use crate::expand::generics;
use crate::expand::paths::{column_name, crate_at, first_span};
use crate::model::{Field, Maps, Model, Treatment};

pub(super) fn columns_impl(model: &Model<'_>) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let mut generics = model.generics.clone();
    generics::extend_where(&mut generics, generics::embedded_bounds(model));
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let fields = model.fields.iter();
    let decisions = fields.filter_map(|field| decision_of(model, field));
    let left_out = model.left_out.iter().map(|column| {
        let name = column_name(model, column);
        decision(model, &name, "LeftOut")
    });
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::AuditedColumns for #ident #ty_generics #where_clause {
            const COLUMNS: &'static [#krate::ColumnDecision] = &[#(#decisions,)* #(#left_out,)*];
        }
    }
}

fn decision(model: &Model<'_>, name: &TokenStream, decided: &str) -> TokenStream {
    let (krate, decided) = (&model.krate, format_ident!("{decided}"));
    quote! {
        #krate::ColumnDecision::Column {
            name: #name,
            decided: #krate::Decided::#decided,
        }
    }
}

/// What was decided about the field, as a variant of `Decided`.
pub(super) fn decided(field: &Field<'_>) -> &'static str {
    match field.treatment() {
        Treatment::Skipped => "Skipped",
        Treatment::Redacted => "Redacted",
        Treatment::Recorded { .. } if field.has("plain") => "Plain",
        Treatment::Recorded { touch: true, .. } => "Touch",
        Treatment::Recorded { touch: false, .. } => "InTrail",
    }
}

fn decision_of(model: &Model<'_>, field: &Field<'_>) -> Option<TokenStream> {
    match &field.maps {
        Maps::Column(column) => Some(decision(model, &column_name(model, column), decided(field))),
        Maps::Embed => {
            // The very span of the type, so that the compiler sees one mistake in both.
            let (ty, span) = (field.ty, first_span(field));
            let (krate, skipped) = (crate_at(model, span), field.has("skip"));
            Some(quote_spanned! {span=>
                #krate::ColumnDecision::Embedded {
                    columns: <#ty as #krate::AuditedColumns>::COLUMNS,
                    skipped: #skipped,
                }
            })
        }
        Maps::Unknown => None,
    }
}
