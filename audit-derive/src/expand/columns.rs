//! `AuditedColumns`: which columns the struct maps, and what was decided about each.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::expand::generics;
use crate::expand::paths::{column_name, crate_at, first_span};
use crate::model::{Field, Maps, Model, Treatment};

pub(super) fn columns_impl(model: &Model<'_>) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let mut generics = model.generics.clone();
    generics::extend_where(&mut generics, generics::embedded_bounds(model));
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let columns: Vec<Column> = model
        .fields
        .iter()
        .filter_map(|field| column(model, field))
        .collect();
    let types = columns.iter().map(|column| &column.ty);
    let values = columns.iter().map(|column| &column.value);
    let decisions = columns.iter().map(|column| &column.decision);
    let left_out = model.left_out.iter().map(|column| {
        let name = column_name(model, column);
        decision(model, &name, "LeftOut")
    });
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::AuditedColumns for #ident #ty_generics #where_clause {
            type Columns = (#(#types,)*);

            const COLUMNS: &'static [#krate::ColumnDecision] = &[#(#decisions,)* #(#left_out,)*];

            fn columns() -> Self::Columns {
                (#(#values,)*)
            }
        }
    }
}

/// The field's part of the columns.
struct Column {
    ty: TokenStream,
    value: TokenStream,
    decision: TokenStream,
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
fn decided(field: &Field<'_>) -> &'static str {
    match field.treatment() {
        Treatment::Skipped => "Skipped",
        Treatment::Redacted => "Redacted",
        Treatment::Recorded { .. } if field.has("plain") => "Plain",
        Treatment::Recorded { touch: true, .. } => "Touch",
        Treatment::Recorded { touch: false, .. } => "InTrail",
    }
}

fn column(model: &Model<'_>, field: &Field<'_>) -> Option<Column> {
    match &field.maps {
        Maps::Column(column) => {
            let (table, name) = (&model.table, column_name(model, column));
            Some(Column {
                ty: quote!(#table::#column),
                // Naming the column as a value as well would report a missing one twice.
                value: quote!(::core::default::Default::default()),
                decision: decision(model, &name, decided(field)),
            })
        }
        Maps::Embed => {
            // The very span of the type, so that the compiler sees one mistake in both.
            let (ty, span) = (field.ty, first_span(field));
            let krate = crate_at(model, span);
            let part = quote_spanned!(span=> <#ty as #krate::AuditedColumns>);
            Some(Column {
                ty: quote_spanned!(span=> #part::Columns),
                value: quote_spanned!(span=> #part::columns()),
                decision: embedded_decision(model, field, &part, span),
            })
        }
        Maps::Unknown => None,
    }
}

fn embedded_decision(
    model: &Model<'_>,
    field: &Field<'_>,
    part: &TokenStream,
    span: Span,
) -> TokenStream {
    let (krate, skipped) = (crate_at(model, span), field.has("skip"));
    quote_spanned! {span=>
        #krate::ColumnDecision::Embedded { columns: #part::COLUMNS, skipped: #skipped }
    }
}
