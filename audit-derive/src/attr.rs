//! Reads `#[audit(…)]`, and of `#[diesel(…)]` what is needed here.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprPath, Ident, LitStr, Path, Token, Type};

use crate::errors::Errors;
use crate::typing;

const FIELD_KEYS: &[&str] = &[
    "redact", "skip", "touch", "plain", "with", "display", "debug", "rename",
];
const STRUCT_KEYS: &[&str] = &["resource", "delivery", "embedded", "leave_out", "crate"];

/// What `delivery` may say, and the variant of `Delivery` that is meant.
const DELIVERIES: &[(&str, &str)] = &[
    ("after_commit", "AfterCommit"),
    ("prepared", "Prepared"),
    ("transactional", "Transactional"),
];

/// What the attributes of a struct say.
#[derive(Default)]
pub(crate) struct StructAttrs {
    pub(crate) resource: Option<LitStr>,
    /// The variant of `Delivery`.
    pub(crate) delivery: Option<Ident>,
    pub(crate) embedded: Option<Span>,
    pub(crate) leave_out: Option<Vec<Ident>>,
    pub(crate) krate: Option<Path>,
    pub(crate) table_name: Option<Path>,
    pub(crate) primary_key: Option<Vec<Ident>>,
}

/// What the attributes of a field say.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) marks: Vec<Mark>,
    /// Whether a mark could not be read: what the field lacks may be just that.
    pub(crate) marks_unreadable: bool,
    pub(crate) column_name: Option<Ident>,
    pub(crate) embed: bool,
    /// Whether a `column_name` could not be read: that it is missing then is no news.
    pub(crate) column_unreadable: bool,
}

/// One word of `#[audit(…)]` on a field.
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    pub(crate) span: Span,
}

pub(crate) enum MarkKind {
    Redact,
    Skip,
    Touch,
    Plain,
    With(ExprPath),
    Display,
    Debug,
    Rename(LitStr),
}

impl MarkKind {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Skip => "skip",
            Self::Touch => "touch",
            Self::Plain => "plain",
            Self::With(_) => "with",
            Self::Display => "display",
            Self::Debug => "debug",
            Self::Rename(_) => "rename",
        }
    }
}

pub(crate) fn read_struct(attrs: &[Attribute], errors: &mut Errors) -> StructAttrs {
    let mut read = StructAttrs::default();
    for attr in attrs {
        if attr.path().is_ident("audit") {
            let example = "#[audit(resource = \"…\")]";
            each_item(attr, example, errors, |key, input, errors| {
                struct_item(&key, input, &mut read, errors)
            });
        } else if attr.path().is_ident("diesel") {
            each_item(
                attr,
                "#[diesel(table_name = users)]",
                errors,
                |key, input, errors| diesel_struct_item(&key, input, &mut read, errors),
            );
        }
    }
    read
}

pub(crate) fn read_field(attrs: &[Attribute], errors: &mut Errors) -> FieldAttrs {
    let mut read = FieldAttrs::default();
    for attr in attrs {
        if attr.path().is_ident("audit") {
            let mistakes = errors.len();
            each_item(attr, "#[audit(redact)]", errors, |key, input, errors| {
                read.marks.extend(field_item(&key, input, errors)?);
                Ok(())
            });
            read.marks_unreadable |= errors.len() > mistakes;
        } else if attr.path().is_ident("diesel") {
            each_item(
                attr,
                "#[diesel(column_name = email)]",
                errors,
                |key, input, errors| diesel_field_item(&key, input, &mut read, errors),
            );
        }
    }
    read
}

/// Calls `item` at each key of the list. An item that fails is skipped, so that the mistakes of
/// the next ones are found as well.
fn each_item(
    attr: &Attribute,
    example: &str,
    errors: &mut Errors,
    mut item: impl FnMut(Ident, ParseStream<'_>, &mut Errors) -> syn::Result<()>,
) {
    let list = match attr.meta.require_list() {
        Ok(list) if !list.tokens.is_empty() => list,
        _ => {
            let message = format!("this attribute says nothing: write for example `{example}`");
            return errors.at(attr.path().span(), message);
        }
    };
    let result = list.parse_args_with(|input: ParseStream<'_>| {
        while !input.is_empty() {
            let outcome = Ident::parse_any(input).and_then(|key| item(key, input, errors));
            let outcome = outcome.and_then(|()| expect_end(input));
            if let Err(error) = outcome {
                errors.push(error);
                skip_value(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    });
    if let Err(error) = result {
        errors.push(error);
    }
}

fn expect_end(input: ParseStream<'_>) -> syn::Result<()> {
    if at_end(input) {
        Ok(())
    } else {
        Err(input.error("expected `,` before this"))
    }
}

fn at_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn struct_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut StructAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "resource" => {
            let name = text(key, input, "resource = \"users\"")?;
            once(&mut read.resource, name, key, errors);
        }
        "delivery" => {
            let mode = delivery(&text(key, input, "delivery = \"transactional\"")?)?;
            once(&mut read.delivery, mode, key, errors);
        }
        "embedded" => {
            bare(key, input)?;
            once(&mut read.embedded, key.span(), key, errors);
        }
        "leave_out" => {
            let example = "leave_out(search_vector, thumbnail)";
            let columns = columns(input).map_err(|_| format_error(key.span(), example))?;
            once(&mut read.leave_out, columns, key, errors);
        }
        "crate" => {
            let example = "crate = \"::my_crate::audit_diesel\"";
            let path = text(key, input, example)?;
            let path = path
                .parse_with(Path::parse_mod_style)
                .map_err(|_| format_error(path.span(), example))?;
            once(&mut read.krate, path, key, errors);
        }
        word if FIELD_KEYS.contains(&word) => {
            return Err(syn::Error::new(
                key.span(),
                format!(
                    "`{word}` is said of a field: write `#[audit({word})]` on the field that is meant"
                ),
            ));
        }
        word => return Err(unknown(key, word, STRUCT_KEYS, "a struct")),
    }
    Ok(())
}

fn delivery(word: &LitStr) -> syn::Result<Ident> {
    let said = word.value();
    match DELIVERIES.iter().find(|(valid, _)| *valid == said) {
        Some((_, variant)) => Ok(Ident::new(variant, word.span())),
        None => {
            let valid: Vec<_> = DELIVERIES.iter().map(|(valid, _)| *valid).collect();
            let valid = valid.join("\"`, `\"");
            let message = format!("`\"{said}\"` is no delivery mode: there are `\"{valid}\"`");
            Err(syn::Error::new(word.span(), message))
        }
    }
}

fn field_item(
    key: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> syn::Result<Option<Mark>> {
    let kind = match key.to_string().as_str() {
        "redact" => bare(key, input).map(|()| MarkKind::Redact)?,
        "skip" => bare(key, input).map(|()| MarkKind::Skip)?,
        "touch" => bare(key, input).map(|()| MarkKind::Touch)?,
        "plain" => bare(key, input).map(|()| MarkKind::Plain)?,
        "display" => bare(key, input).map(|()| MarkKind::Display)?,
        "debug" => bare(key, input).map(|()| MarkKind::Debug)?,
        "with" => with_item(key, input)?,
        "rename" => {
            let name = text(key, input, "rename = \"name\"")?;
            if name.value().is_empty() {
                errors.at(
                    name.span(),
                    "a field needs a name in the trail: write `rename = \"name\"`",
                );
                return Ok(None);
            }
            MarkKind::Rename(name)
        }
        word if STRUCT_KEYS.contains(&word) => {
            return Err(syn::Error::new(
                key.span(),
                format!(
                    "`{word}` is said of the struct: move it to an `#[audit(…)]` above the struct"
                ),
            ));
        }
        word => return Err(unknown(key, word, FIELD_KEYS, "a field")),
    };
    let span = key.span();
    Ok(Some(Mark { kind, span }))
}

fn with_item(key: &Ident, input: ParseStream<'_>) -> syn::Result<MarkKind> {
    let example = "with = \"path::to::function\"";
    let path = text(key, input, example)?;
    path.parse::<ExprPath>()
        .map(MarkKind::With)
        .map_err(|_| format_error(path.span(), example))
}

fn diesel_struct_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut StructAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "table_name" => {
            let path = diesel_value(key, input, "table_name = users", Path::parse_mod_style)?;
            if read.table_name.is_some() {
                errors.at(
                    key.span(),
                    "a model maps one table: remove this `table_name`",
                );
            } else {
                read.table_name = Some(path);
            }
        }
        "primary_key" => {
            let columns = columns(input)
                .map_err(|_| diesel_format_error(key.span(), "primary_key(user_id, role)"))?;
            once(&mut read.primary_key, columns, key, errors);
        }
        _ => skip_value(input)?,
    }
    Ok(())
}

fn columns(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let content;
    syn::parenthesized!(content in input);
    let columns: Vec<_> = content
        .parse_terminated(Ident::parse_any, Token![,])?
        .into_iter()
        .collect();
    if columns.is_empty() {
        return Err(content.error("no column"));
    }
    Ok(columns)
}

fn diesel_field_item(
    key: &Ident,
    input: ParseStream<'_>,
    read: &mut FieldAttrs,
    errors: &mut Errors,
) -> syn::Result<()> {
    match key.to_string().as_str() {
        "column_name" => {
            read.column_unreadable = true;
            let column = diesel_value(key, input, "column_name = email", column_ident)?;
            read.column_unreadable = false;
            once(&mut read.column_name, column, key, errors);
        }
        "embed" => read.embed = true,
        "select_expression" => {
            errors.at(
                key.span(),
                "an audited model holds the columns of its table as they are: name the column \
                 here, and select expressions into another struct that derives `Queryable` only",
            );
            // What follows is no column, and there is nothing more to say about it.
            read.column_unreadable = true;
            skip_value(input)?;
        }
        _ => skip_value(input)?,
    }
    Ok(())
}

/// A column's name, which Diesel takes with and without quotes.
fn column_ident(input: ParseStream<'_>) -> syn::Result<Ident> {
    if !input.peek(LitStr) {
        return input.parse();
    }
    let name: LitStr = input.parse()?;
    name.parse::<Ident>().or_else(|_| {
        let mut ident: Ident = syn::parse_str(&format!("r#{}", name.value()))?;
        ident.set_span(name.span());
        Ok(ident)
    })
}

fn diesel_value<T>(
    key: &Ident,
    input: ParseStream<'_>,
    example: &str,
    parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<T> {
    input
        .parse::<Token![=]>()
        .and_then(|_| parse(input))
        .and_then(|value| expect_end(input).map(|()| value))
        .map_err(|_| diesel_format_error(key.span(), example))
}

fn text(key: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<LitStr> {
    input
        .parse::<Token![=]>()
        .and_then(|_| input.parse::<LitStr>())
        .and_then(|value| expect_end(input).map(|()| value))
        .map_err(|_| format_error(key.span(), example))
}

fn bare(key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if at_end(input) {
        return Ok(());
    }
    let message = format!("`{key}` takes no value: write `#[audit({key})]`");
    Err(syn::Error::new(key.span(), message))
}

fn once<T>(slot: &mut Option<T>, value: T, key: &Ident, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(key.span(), format!("`{key}` is written twice: remove one"));
    }
    *slot = Some(value);
}

fn format_error(span: Span, example: &str) -> syn::Error {
    syn::Error::new(span, format!("write `#[audit({example})]`"))
}

fn diesel_format_error(span: Span, example: &str) -> syn::Error {
    syn::Error::new(span, format!("write `#[diesel({example})]`"))
}

/// Goes to the end of a value of whatever form: `= HashMap<K, V>`, `= a.lt(b)`, `(a, b)`, nothing.
fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    if input.parse::<Option<Token![=]>>()?.is_some() && (skip::<Type>(input) || skip::<Expr>(input))
    {
        return Ok(());
    }
    while !at_end(input) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Skips a `T` where one stands before the item's end. A type is tried before an expression,
/// which would end at the comma of `HashMap<K, V>`.
fn skip<T: Parse>(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let found = ahead.parse::<T>().is_ok() && at_end(&ahead);
    if found {
        input.advance_to(&ahead);
    }
    found
}

fn unknown(key: &Ident, word: &str, valid: &[&str], place: &str) -> syn::Error {
    let hint = match nearest(word) {
        Some(near) if valid.contains(&near) => format!(" (did you mean `{near}`?)"),
        _ => String::new(),
    };
    let valid = valid.join("`, `");
    let message = format!("`{word}` is unknown{hint}: `#[audit(…)]` on {place} takes `{valid}`");
    syn::Error::new(key.span(), message)
}

/// The valid word that was probably meant: a common word for the same thing, or the least typing
/// mistakes away.
fn nearest(word: &str) -> Option<&'static str> {
    match word {
        "ignore" | "exclude" | "omit" | "exempt" => return Some("skip"),
        "mask" | "secret" | "hide" | "sensitive" | "redacted" => return Some("redact"),
        "name" | "as" => return Some("rename"),
        "embed" => return Some("embedded"),
        _ => {}
    }
    typing::nearest(word, FIELD_KEYS.iter().chain(STRUCT_KEYS).copied())
}
