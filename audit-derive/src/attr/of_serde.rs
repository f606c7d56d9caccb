//! What a field, or its struct, says to serde: the trail records each field by itself, so that what
//! serde is told about a field does not hold there.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Path, Token};

/// Something that serde is told, and where.
pub(crate) struct Serde {
    pub(crate) says: SerdeSays,
    pub(crate) span: Span,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SerdeSays {
    /// The value is left out, always or where a function says so.
    Hide,
    /// The value is written in another form.
    Reshape,
    /// The value's own fields stand among those of the struct.
    Flatten,
    /// The field has another name.
    Rename(String),
    /// The whole struct is written as another one.
    Into,
}

/// What changes how the field is written. What is only read otherwise is passed over.
pub(super) fn of_field(attrs: &[Attribute]) -> Vec<Serde> {
    read(attrs, |key, meta| match key {
        "skip" | "skip_serializing" => Some(SerdeSays::Hide),
        "skip_serializing_if" => hides(meta).then_some(SerdeSays::Hide),
        "with" | "serialize_with" | "getter" => Some(SerdeSays::Reshape),
        "flatten" => Some(SerdeSays::Flatten),
        "rename" => written_name(meta).map(SerdeSays::Rename),
        _ => None,
    })
}

/// What changes how the whole struct is written, apart from names and a mark of its type.
pub(super) fn of_struct(attrs: &[Attribute]) -> Vec<Serde> {
    read(attrs, |key, _| (key == "into").then_some(SerdeSays::Into))
}

fn read(attrs: &[Attribute], says: impl Fn(&str, &Meta) -> Option<SerdeSays>) -> Vec<Serde> {
    let of_serde = attrs.iter().filter(|attr| attr.path().is_ident("serde"));
    // What cannot be read, serde refuses itself.
    let metas = of_serde
        .filter_map(|attr| {
            attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .ok()
        })
        .flatten();
    metas
        .filter_map(|meta| {
            let key = meta.path().get_ident()?.to_string();
            let (says, span) = (says(&key, &meta)?, meta.path().span());
            Some(Serde { says, span })
        })
        .collect()
}

/// Whether a condition leaves out more than what is not there anyway: `Option::is_none`,
/// `Vec::is_empty`.
fn hides(meta: &Meta) -> bool {
    let path = text(meta).and_then(|path| syn::parse_str::<Path>(&path).ok());
    let Some(path) = path else { return true };
    let mut names = path.segments.iter().rev();
    let is = |name: Option<&syn::PathSegment>, words: &[&str]| {
        name.is_some_and(|name| words.iter().any(|word| name.ident == word))
    };
    let (function, ty) = (names.next(), names.next());
    let nothing = (is(function, &["is_none"]) && is(ty, &["Option"]))
        || (is(function, &["is_empty"]) && is(ty, COLLECTIONS));
    !nothing
}

const COLLECTIONS: &[&str] = &[
    "Vec", "VecDeque", "String", "str", "Map", "HashMap", "BTreeMap", "HashSet", "BTreeSet",
];

/// The name that `rename = "…"` or `rename(serialize = "…")` gives.
fn written_name(meta: &Meta) -> Option<String> {
    let Meta::List(list) = meta else {
        return text(meta);
    };
    let names = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let mut names = names.ok()?.into_iter();
    let written = names.find(|name| name.path().is_ident("serialize"))?;
    text(&written)
}

/// The text of `key = "text"`.
fn text(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}
