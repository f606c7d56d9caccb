//! Writes `SCHEMA`, and what the compiler has to check.

use std::path::Path as FilePath;

use audit_core::{names_one_of, names_secret};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, LitStr, Path, Type};

use crate::errors::Errors;
use crate::schema::check::{Audited, Exempt, Lists};
use crate::schema::file::Reader;
use crate::schema::input::{Input, Schema};
use crate::schema::table::{Column, Table};
use crate::secret_name::to_decide;

/// `SCHEMA` without tables, beside the errors.
pub(crate) fn nothing(krate: &Path, errors: Errors) -> TokenStream {
    let empty = Content {
        path: LitStr::new("", Span::call_site()),
        words: vec![],
        items: TokenStream::new(),
        elements: TokenStream::new(),
    };
    schema(krate, &empty, errors)
}

pub(crate) fn expand(
    krate: &Path,
    input: &Input,
    source: &Schema,
    reader: &Reader,
    lists: &Lists<'_>,
    errors: Errors,
) -> TokenStream {
    let words: Vec<String> = input.secrets.iter().map(LitStr::value).collect();
    let files = reader.files.iter().map(|file| recompile_with(file));
    let audited = lists.audited.iter().enumerate();
    let consts = audited.map(|(i, entry)| audited_const(krate, source, i, entry, &words));
    let content = Content {
        path: source.path.clone(),
        items: files.chain(consts).collect(),
        elements: elements(krate, lists),
        words,
    };
    schema(krate, &content, errors)
}

/// What stands in `SCHEMA`.
struct Content {
    path: LitStr,
    words: Vec<String>,
    /// What is checked there.
    items: TokenStream,
    /// The tables.
    elements: TokenStream,
}

fn schema(krate: &Path, content: &Content, errors: Errors) -> TokenStream {
    let Content {
        path,
        words,
        items,
        elements,
    } = content;
    let errors = errors.into_compile_errors();
    quote! {
        /// The tables of the schema: which are audited, and why the others are not.
        #[allow(unreachable_pub, dead_code)]
        pub static SCHEMA: #krate::AuditedSchema = {
            #items
            #krate::__private::schema::schema(#path, &[#elements], &[#(#words),*])
        };
        #errors
    }
}

/// Makes the file one of those that the crate is built from.
fn recompile_with(file: &str) -> TokenStream {
    let path = if FilePath::new(file).is_absolute() {
        quote!(#file)
    } else {
        quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #file))
    };
    quote!(
        const _: &[::core::primitive::u8] = ::core::include_bytes!(#path);
    )
}

fn const_name(i: usize) -> Ident {
    format_ident!("__TABLE_{i}")
}

/// The table as a constant, with the checks of its model and of its columns.
fn audited_const(
    krate: &Path,
    source: &Schema,
    i: usize,
    entry: &Audited<'_>,
    words: &[String],
) -> TokenStream {
    let Audited { table, model, span } = entry;
    let (name, sql_name, cfgs) = (const_name(i), &table.sql_name, &table.cfgs);
    let model_name = text_of(model);
    let table_path = path_of(source, table, *span);
    let columns = columns(krate, source, &name, entry, words);
    // A model that is none is shown where the list names it.
    let at = shown_at(first_span(model, *span));
    let krate_there = path_at(krate, at);
    let value = quote_spanned! {at=>
        #krate_there::__private::schema::audited::<#table_path, #model>(#sql_name, #model_name)
    };
    quote! {
        #(#cfgs)*
        const #name: #krate::SchemaTable = #value;
        #(#cfgs)*
        const _: () = { #columns };
    }
}

fn first_span(model: &Type, otherwise: Span) -> Span {
    let first = model.to_token_stream().into_iter().next();
    first.map_or(otherwise, |token| token.span())
}

/// For code of the macro, in which a mistake is shown at the span.
fn shown_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The path for a call in which a mistake is shown at the span: all tokens have to be there.
fn path_at(path: &Path, at: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    let moved = tokens.map(|mut token| {
        token.set_span(token.span().located_at(at));
        token
    });
    moved.collect()
}

/// `crate::schema::auth::users::table`
fn path_of(source: &Schema, table: &Table, span: Span) -> TokenStream {
    let module = &source.module;
    let names = table.path.iter().map(|name| {
        let mut name = name.clone();
        name.set_span(span);
        name
    });
    quote_spanned!(span=> #module #(::#names)* ::table)
}

/// One constant for the columns of a table, which names all that are undecided: a constant for each
/// would be most of what the macro costs the compiler.
fn columns(
    krate: &Path,
    source: &Schema,
    table_const: &Ident,
    entry: &Audited<'_>,
    words: &[String],
) -> TokenStream {
    let at = shown_at(entry.span);
    let krate = path_at(krate, at);
    let sql_names = entry.table.columns.iter().map(|column| &column.sql_name);
    let names = entry.table.columns.iter().map(|column| &column.name);
    let [before, after] = undecided_message(source, entry);
    let secrets = entry.table.columns.iter().filter_map(|column| {
        let message = secret_message(entry, column, &secret_name(column, words)?);
        let sql_name = &column.sql_name;
        Some(quote_spanned!(at=>
            const _: () = #krate::__private::schema::secret_decided(&#table_const, #sql_name, #message);
        ))
    });
    let secrets: TokenStream = secrets.collect();
    quote_spanned! {at=>
        const _: () = #krate::__private::schema::decided(
            &#table_const, &[#((#sql_names, #names),)*], [#before, #after],
        );
        #secrets
    }
}

/// The name of the column that says secret, where the derive cannot know that it does.
fn secret_name(column: &Column, words: &[String]) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let further = [&column.name, &column.sql_name]
        .into_iter()
        .find(|name| names_one_of(name, &words));
    let behind_sql_name = names_secret(&column.sql_name) && !names_secret(&column.name);
    further
        .or(behind_sql_name.then_some(&column.sql_name))
        .cloned()
}

/// What stands before and after the names of the undecided columns.
fn undecided_message(source: &Schema, entry: &Audited<'_>) -> [String; 2] {
    let (table, model) = (entry.table.name(), text_of(entry.model));
    let path = source.path.value();
    let before = format!("nobody decided about these columns of table `{table}` ({path}): ");
    let after = format!(
        ". Give `{model}` a field for each (`#[audit(skip)]` keeps a field out of the trail), or \
         write `#[audit(leave_out(\u{2026}))]` with their names on `{model}`"
    );
    [before, after]
}

fn secret_message(entry: &Audited<'_>, column: &Column, name: &str) -> String {
    let (table, model) = (entry.table.name(), text_of(entry.model));
    let column = &column.name;
    let place = format!(" on the field of `{model}` for the column `{column}` of table `{table}`");
    format!("the name `{name}` says secret: {}", to_decide(&place))
}

/// The elements of `SCHEMA`, in the order of the lists.
fn elements(krate: &Path, lists: &Lists<'_>) -> TokenStream {
    let audited = lists.audited.iter().enumerate().map(|(i, entry)| {
        let (name, cfgs) = (const_name(i), &entry.table.cfgs);
        quote!(#(#cfgs)* #name,)
    });
    let exempt = lists.exempt.iter().map(|Exempt { table, reason }| {
        let (sql_name, cfgs) = (&table.sql_name, &table.cfgs);
        quote!(#(#cfgs)* #krate::__private::schema::exempt(#sql_name, #reason),)
    });
    audited.chain(exempt).collect()
}

/// The tokens as they are written: `models::User<'static>`.
fn text_of(tokens: impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    text.replace(" :: ", "::")
        .replace(":: ", "::")
        .replace(" < ", "<")
        .replace(" >", ">")
}
