//! Writes the implementations.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{GenericParam, Generics, Ident, WherePredicate, parse_quote};

use crate::errors::Errors;
use crate::model::{Field, Form, Inner, Maps, Model, Treatment};

/// The implementations. Where the struct has mistakes, they are there with nothing in them, so
/// that one mistake gives one message.
pub(crate) fn expand(model: &Model<'_>, errors: Errors) -> TokenStream {
    let usable = errors.is_empty();
    let parts = [
        fields_impl(model, usable),
        columns_impl(model),
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

fn fields_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let generics = recorded_generics(model);
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
        ::core::option::Option::map(__old, |__row| &__row.#member),
        ::core::option::Option::map(__new, |__row| &__row.#member)
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

/// Where a mistake in the field's type is shown.
fn type_span(field: &Field<'_>) -> Span {
    Span::call_site().located_at(first_span(field))
}

fn first_span(field: &Field<'_>) -> Span {
    let first = field.ty.to_token_stream().into_iter().next();
    first.map_or(field.span, |token| token.span())
}

/// The path of `audit_diesel`, for a call in which a mistake is shown at the span.
fn crate_at(model: &Model<'_>, span: Span) -> TokenStream {
    let tokens = model.krate.to_token_stream().into_iter();
    let moved = tokens.map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
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

fn column_name(model: &Model<'_>, column: &Ident) -> TokenStream {
    let Model { krate, table, .. } = model;
    quote!(<#table::#column as #krate::__private::diesel::Column>::NAME)
}

/// What is serialised of `__value`, a reference to the field.
fn formed(model: &Model<'_>, form: &Form<'_>, span: Span) -> TokenStream {
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

fn columns_impl(model: &Model<'_>) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let mut generics = model.generics.clone();
    extend_where(&mut generics, embedded_bounds(model));
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let columns: Vec<Column> = model
        .fields
        .iter()
        .filter_map(|field| column(model, field))
        .collect();
    let types = columns.iter().map(|column| &column.ty);
    let values = columns.iter().map(|column| &column.value);
    let visits = columns.iter().map(|column| &column.visit);
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

            fn visit_columns(__visit: &mut dyn ::core::ops::FnMut(&'static str)) {
                #(#visits)*
            }
        }
    }
}

/// The field's part of the columns.
struct Column {
    ty: TokenStream,
    value: TokenStream,
    visit: TokenStream,
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
                visit: quote!(__visit(#name);),
                decision: decision(model, &name, decided(field)),
            })
        }
        Maps::Embed => {
            // The very span of the type, so that the compiler sees one mistake in all three.
            let (ty, span) = (field.ty, first_span(field));
            let krate = crate_at(model, span);
            let part = quote_spanned!(span=> <#ty as #krate::AuditedColumns>);
            Some(Column {
                ty: quote_spanned!(span=> #part::Columns),
                value: quote_spanned!(span=> #part::columns()),
                visit: quote_spanned!(span=> #part::visit_columns(__visit);),
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

fn row_impls(model: &Model<'_>, usable: bool) -> TokenStream {
    if model.embedded.is_some() {
        return TokenStream::new();
    }
    let parts = [
        auditable_impl(model, usable),
        model_impl(model, usable),
        audited_by_impl(model),
    ];
    parts.into_iter().collect()
}

fn auditable_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let generics = recorded_generics(model);
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let resource = resource_type(model);
    let parts = key_fields(model)
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

fn model_impl(model: &Model<'_>, usable: bool) -> TokenStream {
    let Model {
        ident,
        krate,
        table,
        ..
    } = model;
    let mut generics = recorded_generics(model);
    extend_where(&mut generics, embedded_bounds(model));
    let params: Vec<Ident> = generics.type_params().map(|p| p.ident.clone()).collect();
    extend_where(
        &mut generics,
        params.iter().map(|param| parse_quote!(#param: 'static)),
    );
    generics.params = without_lifetimes(&generics);
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (impl_generics, where_clause) = (
        static_lifetimes(model, impl_generics.to_token_stream()),
        static_lifetimes(model, where_clause.to_token_stream()),
    );
    let ty = static_lifetimes(model, model.generics.split_for_impl().1.to_token_stream());
    let key = key_fields(model).filter_map(|field| match &field.maps {
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

fn audited_by_impl(model: &Model<'_>) -> TokenStream {
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

/// What embedded structs have to be where they depend on a parameter.
fn embedded_bounds<'a>(model: &'a Model<'a>) -> impl Iterator<Item = WherePredicate> {
    let krate = &model.krate;
    let fields = model.fields.iter();
    fields
        .filter(|field| matches!(field.maps, Maps::Embed))
        .filter(|field| is_generic(model, field.ty.to_token_stream()))
        .map(move |Field { ty, .. }| parse_quote!(#ty: #krate::AuditedColumns))
}

fn key_fields<'a>(model: &'a Model<'a>) -> impl Iterator<Item = &'a Field<'a>> {
    let columns = model.key_columns().into_iter();
    columns.filter_map(|column| model.field_of_column(&column))
}

/// The struct's generics with what its fields have to be where a type depends on a parameter.
fn recorded_generics(model: &Model<'_>) -> Generics {
    let mut generics = model.generics.clone();
    if generics.type_params().next().is_some() || generics.const_params().next().is_some() {
        let mut bounds: Vec<WherePredicate> = vec![];
        for field in &model.fields {
            bounds.extend(bounds_of(model, field));
        }
        for field in key_fields(model).filter(|field| field.has("skip")) {
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

fn extend_where(generics: &mut Generics, bounds: impl Iterator<Item = WherePredicate>) {
    let mut bounds = bounds.peekable();
    if bounds.peek().is_some() {
        generics.make_where_clause().predicates.extend(bounds);
    }
}

/// Whether the tokens name a type or const parameter of the struct.
fn is_generic(model: &Model<'_>, tokens: TokenStream) -> bool {
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
fn static_lifetimes(model: &Model<'_>, tokens: TokenStream) -> TokenStream {
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
