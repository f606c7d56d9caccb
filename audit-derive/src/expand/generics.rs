//! The generics of the implementations: bounds where a field's type depends on a parameter, and
//! `'static` where a model has to be whole.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{GenericParam, Generics, Ident, WherePredicate, parse_quote};

use crate::model::{Field, Form, Inner, Maps, Model, Treatment};

/// What embedded structs have to be where they depend on a parameter.
pub(super) fn embedded_bounds<'a>(model: &'a Model<'a>) -> impl Iterator<Item = WherePredicate> {
    let krate = &model.krate;
    let fields = model.fields.iter();
    fields
        .filter(|field| matches!(field.maps, Maps::Embed))
        .filter(|field| is_generic(model, field.ty.to_token_stream()))
        .map(move |Field { ty, .. }| parse_quote!(#ty: #krate::AuditedColumns))
}

/// The struct's generics with what its fields have to be where a type depends on a parameter.
pub(super) fn recorded_generics(model: &Model<'_>) -> Generics {
    let mut generics = model.generics.clone();
    if generics.type_params().next().is_some() || generics.const_params().next().is_some() {
        let mut bounds: Vec<WherePredicate> = vec![];
        for field in &model.fields {
            bounds.extend(bounds_of(model, field));
        }
        for field in model.key_fields().filter(|field| field.has("skip")) {
            let (krate, ty) = (&model.krate, field.ty);
            bounds.push(parse_quote!(#ty: #krate::__private::Serialize));
        }
        extend_where(&mut generics, bounds.into_iter());
    }
    generics
}

fn bounds_of(model: &Model<'_>, field: &Field<'_>) -> Vec<WherePredicate> {
    let (krate, ty) = (&model.krate, field.ty);
    if !is_generic(model, ty.to_token_stream()) {
        return vec![];
    }
    let compared = parse_quote!(#ty: #krate::Compared);
    match field.treatment() {
        Treatment::Skipped => vec![],
        _ if matches!(field.maps, Maps::Embed) => vec![parse_quote!(#ty: #krate::AuditFields)],
        Treatment::Redacted => vec![compared],
        Treatment::Recorded { form, .. } => match form {
            Form::Itself => vec![parse_quote!(#ty: #krate::Recorded)],
            Form::With(_) | Form::Bytes(_) => vec![compared],
            Form::Display(Inner { ty, .. }) => {
                vec![compared, parse_quote!(#ty: ::core::fmt::Display)]
            }
            Form::Debug(Inner { ty, .. }) => {
                vec![compared, parse_quote!(#ty: ::core::fmt::Debug)]
            }
        },
    }
}

pub(super) fn extend_where(generics: &mut Generics, bounds: impl Iterator<Item = WherePredicate>) {
    let mut bounds = bounds.peekable();
    if bounds.peek().is_some() {
        generics.make_where_clause().predicates.extend(bounds);
    }
}

/// Whether the tokens name a type or const parameter of the struct.
pub(super) fn is_generic(model: &Model<'_>, tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => is_generic(model, group.stream()),
        TokenTree::Ident(ident) => model.generics.params.iter().any(|param| match param {
            GenericParam::Lifetime(_) => false,
            GenericParam::Type(param) => param.ident.unraw() == ident.unraw(),
            GenericParam::Const(param) => param.ident.unraw() == ident.unraw(),
        }),
        _ => false,
    })
}

/// The generics of an implementation for whole models: `'static` in place of the struct's lifetimes,
/// and for its types.
pub(super) fn static_generics(model: &Model<'_>) -> Generics {
    let mut generics = recorded_generics(model);
    let params: Vec<Ident> = generics.type_params().map(|p| p.ident.clone()).collect();
    let bounds = params.iter().map(|param| parse_quote!(#param: 'static));
    extend_where(&mut generics, bounds);
    generics.params = without_lifetimes(&generics);
    if let Some(clause) = generics.where_clause.take() {
        let predicates = static_lifetimes(model, clause.predicates.into_token_stream());
        generics.where_clause = Some(parse_quote!(where #predicates));
    }
    generics
}

fn without_lifetimes(
    generics: &Generics,
) -> syn::punctuated::Punctuated<GenericParam, syn::Token![,]> {
    let params = generics.params.iter();
    let is_lifetime = |param: &&GenericParam| matches!(param, GenericParam::Lifetime(_));
    params
        .filter(|param| !is_lifetime(param))
        .cloned()
        .collect()
}

/// The tokens with `'static` for the struct's lifetimes: a model is loaded whole, and a table
/// names one type.
pub(super) fn static_lifetimes(model: &Model<'_>, tokens: TokenStream) -> TokenStream {
    let is_lifetime = |name: &Ident| {
        model
            .generics
            .lifetimes()
            .any(|l| l.lifetime.ident == *name)
    };
    let mut after_quote = false;
    let mut out = TokenStream::new();
    for token in tokens {
        let token = match token {
            TokenTree::Ident(ident) if after_quote && is_lifetime(&ident) => {
                TokenTree::Ident(Ident::new("static", ident.span()))
            }
            TokenTree::Group(group) => {
                let inner = static_lifetimes(model, group.stream());
                let mut copy = Group::new(group.delimiter(), inner);
                copy.set_span(group.span());
                TokenTree::Group(copy)
            }
            other => other,
        };
        after_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        out.extend([token]);
    }
    out
}
