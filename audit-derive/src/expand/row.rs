//! `AuditedRow`: how each field is read from a row that a statement returned.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Ident, Type, WherePredicate, parse_quote};

use crate::expand::columns::decided;
use crate::expand::form::formed;
use crate::expand::generics::{self, static_lifetimes};
use crate::expand::paths::{column_name, crate_at, type_span};
use crate::model::{Field, Form, Maps, Model, Treatment};

pub(super) fn row_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let fields = model.fields.iter().filter(|_| usable);
    let parts: Vec<FieldPart> = fields.filter_map(|field| part(model, field)).collect();
    let mut generics = generics::static_generics(model);
    let bounds = parts.iter().filter_map(|part| part.bound.clone());
    generics::extend_where(&mut generics, bounds);
    generics
        .params
        .push(parse_quote!(__DB: #krate::__private::diesel::backend::Backend));
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let impl_generics = static_lifetimes(model, impl_generics.to_token_stream());
    let ty = static_lifetimes(model, model.generics.split_for_impl().1.to_token_stream());
    let visits = parts.iter().map(|part| &part.visit);
    let fits = parts.iter().map(|part| &part.fit);
    quote! {
        #(#fits)*
        #[automatically_derived]
        impl #impl_generics #krate::AuditedRow<__DB> for #ident #ty #where_clause {
            fn visit<'__a, __R: #krate::__private::diesel::row::Row<'__a, __DB>>(
                __visit: &mut dyn ::core::ops::FnMut(&#krate::RecordedField<__R>),
            ) {
                #(#visits)*
            }
        }
    }
}

/// What a field adds to the implementation.
struct FieldPart {
    /// What its type has to be.
    bound: Option<WherePredicate>,
    /// Whether its type fits its column, as a constant, and what refuses one that does not.
    fit: TokenStream,
    visit: TokenStream,
}

fn part(model: &Model<'_>, field: &Field<'_>) -> Option<FieldPart> {
    let span = type_span(field);
    let krate = crate_at(model, span);
    let Maps::Column(column) = &field.maps else {
        let ty = static_type(model, field.ty);
        let bound = quote_spanned!(span=> #ty: #krate::AuditedRow<__DB>);
        return (!field.has("skip")).then(|| FieldPart {
            bound: Some(parse_quote!(#bound)),
            fit: TokenStream::new(),
            visit: quote_spanned! {span=>
                <#ty as #krate::AuditedRow<__DB>>::visit::<__R>(__visit);
            },
        });
    };
    let place = key_place(model, column);
    if field.has("skip") && place.is_none() {
        return None;
    }
    let name = column_name(model, column);
    let renamed = field.rename().map(|name| quote!(.renamed(#name)));
    let key = place.map(|place| quote!(.key(#place)));
    if let Treatment::Redacted = field.treatment() {
        return Some(FieldPart {
            bound: None,
            fit: TokenStream::new(),
            visit: quote!(__visit(&#krate::RecordedField::redacted(#name)#renamed #key);),
        });
    }
    let form = field.form();
    let hidden = matches!(form, Form::With(_) | Form::Display(_) | Form::Debug(_));
    let formed_mark = hidden.then(|| quote!(.formed()));
    let ty = static_type(model, field.ty);
    let decided = format_ident!("{}", decided(field));
    let fit = Fit::of(model, field, column);
    let (bound, read) = read(model, field, column, &form, &fit.known);
    let sql_type = sql_type(model, column, span);
    Some(FieldPart {
        bound: Some(bound),
        fit: fit.check,
        visit: quote_spanned! {span=>
            __visit(
                &#krate::RecordedField::new::<#ty, #sql_type>(
                    #name,
                    #krate::Decided::#decided,
                    #read,
                )#formed_mark #renamed #key,
            );
        },
    })
}

/// What the field's type has to be, and a function that reads it and writes it as JSON.
fn read(
    model: &Model<'_>,
    field: &Field<'_>,
    column: &Ident,
    form: &Form<'_>,
    fit: &TokenStream,
) -> (WherePredicate, TokenStream) {
    let span = type_span(field);
    let krate = crate_at(model, span);
    let private = quote_spanned!(span=> #krate::__private);
    let sql_type = sql_type(model, column, span);
    let ty = static_type(model, field.ty);
    let (loaded, load) = match &field.deserialize_as {
        Some(by) => {
            let by = static_type(model, by);
            let load =
                quote_spanned!(span=> #private::load_as::<#sql_type, #by, #ty, __DB, __R, #fit>);
            (by, load)
        }
        None => {
            let load = quote_spanned!(span=> #private::load::<#sql_type, #ty, __DB, __R, #fit>);
            (ty, load)
        }
    };
    let formed = match form {
        // That the type can be serialised is asked once, where changes are written.
        Form::Itself => quote_spanned! {span=>
            {
                #[allow(unused_imports)]
                use #private::KeyWithoutForm as _;
                #private::KeyPart(__value).form()
            }
        },
        form => {
            let formed = formed(model, form, span);
            quote_spanned!(span=> &#formed)
        }
    };
    let bound = quote_spanned! {span=>
        #loaded: #private::ReadAs<#sql_type, __DB, #fit>
    };
    let read = quote_spanned! {span=>
        |__row, __at, __out| match #load(__row, __at) {
            ::core::option::Option::Some(__value) => {
                let __value = &__value;
                #private::write(__out, #formed)
            }
            ::core::option::Option::None => #private::UNREADABLE,
        }
    };
    (parse_quote!(#bound), read)
}

/// Whether the field's type can be loaded from its column on any backend that is built in.
struct Fit {
    /// Where the constant stands that says so.
    known: TokenStream,
    check: TokenStream,
}

impl Fit {
    fn of(model: &Model<'_>, field: &Field<'_>, column: &Ident) -> Self {
        let loaded = field.deserialize_as.as_ref().unwrap_or(field.ty);
        // What is put in for a parameter is known only where it is, and what borrows is loaded by nobody.
        let borrows =
            static_type(model, loaded).to_string() != loaded.to_token_stream().to_string();
        if borrows || generics::is_generic(model, loaded.to_token_stream()) {
            return Self {
                known: quote!(true),
                check: TokenStream::new(),
            };
        }
        let span = type_span(field);
        let private = crate_at(model, span);
        let private = quote_spanned!(span=> #private::__private);
        let (ty, sql_type) = (static_type(model, loaded), sql_type(model, column, span));
        let known = format_ident!("__FITS_{}", column.unraw());
        let check = quote_spanned! {span=>
            #[allow(non_upper_case_globals)]
            const #known: bool = {
                #[allow(unused_imports)]
                use #private::FitsNowhere as _;
                <#private::Probe<#ty, #sql_type>>::ON_POSTGRES
                    || <#private::Probe<#ty, #sql_type>>::ON_SQLITE
            };
            const _: () = #private::fits_column::<#ty, #sql_type, #known>();
        };
        Self {
            known: quote!(#known),
            check,
        }
    }
}

/// The SQL type of a column.
fn sql_type(model: &Model<'_>, column: &Ident, span: Span) -> TokenStream {
    let (krate, table) = (crate_at(model, span), &model.table);
    quote!(<#table::#column as #krate::__private::diesel::Expression>::SqlType)
}

fn static_type(model: &Model<'_>, ty: &Type) -> TokenStream {
    static_lifetimes(model, ty.to_token_stream())
}

fn key_place(model: &Model<'_>, column: &Ident) -> Option<usize> {
    if model.embedded.is_some() {
        return None;
    }
    let mut key = model.key_columns().into_iter();
    key.position(|key| key.unraw() == column.unraw())
}
