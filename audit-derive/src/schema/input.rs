//! Reads what stands in `audit_schema! { … }`.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseBuffer, ParseStream, Parser};
use syn::{Ident, LitStr, Path, Token, Type, braced, bracketed};

use crate::errors::Errors;
use crate::typing::nearest;

const KEYS: &[&str] = &[
    "schema",
    "audited",
    "exempt",
    "secrets",
    "table_macros",
    "crate",
];

/// The macro's input. What could not be read is left out, and an error says so.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) krate: Option<Path>,
    pub(crate) schema: Option<Schema>,
    pub(crate) audited: Vec<Entry<Type>>,
    pub(crate) exempt: Vec<Entry<LitStr>>,
    pub(crate) secrets: Vec<LitStr>,
    /// The macros that take what Diesel's `table!` takes.
    pub(crate) table_macros: Vec<Ident>,
}

/// `"src/schema.rs" => crate::schema`
pub(crate) struct Schema {
    pub(crate) path: LitStr,
    pub(crate) module: Path,
}

/// A table in a list, with its model or its reason. An error tells of a value that is missing.
pub(crate) struct Entry<T> {
    /// `users`, or `auth::users` where the table is in a module.
    pub(crate) name: Vec<Ident>,
    pub(crate) value: Option<T>,
}

impl<T> Entry<T> {
    pub(crate) fn name(&self) -> String {
        let names: Vec<_> = self.name.iter().map(|n| n.unraw().to_string()).collect();
        names.join("::")
    }

    /// Where a mistake in the entry is shown.
    pub(crate) fn span(&self) -> Span {
        let span = |ident: Option<&Ident>| ident.map_or_else(Span::call_site, Ident::span);
        let (first, last) = (span(self.name.first()), span(self.name.last()));
        first.join(last).unwrap_or(last)
    }
}

impl Input {
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut read = Self::default();
        let parser = |input: ParseStream<'_>| {
            let mut seen: Vec<String> = vec![];
            while !input.is_empty() {
                let key = Ident::parse_any(input)?;
                if seen.contains(&key.to_string()) {
                    let message = format!("`{key}` is written twice: make one of them");
                    errors.at(key.span(), message);
                }
                read.key(&key, input, errors)?;
                seen.push(key.to_string());
                comma(input, "this")?;
            }
            Ok(seen)
        };
        match parser.parse2(tokens) {
            Ok(seen) if !seen.iter().any(|key| key == "schema") => errors.at(
                Span::call_site(),
                "which file is the schema? write `schema: \"src/schema.rs\" => crate::schema,`",
            ),
            Ok(_) => {}
            // The rest is unknown then, and what it lacks is no news.
            Err(error) => {
                errors.push(error);
                read.schema = None;
            }
        }
        read
    }

    fn key(&mut self, key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let word = key.to_string();
        if !KEYS.contains(&word.as_str()) {
            return Err(unknown_key(key, &word));
        }
        input.parse::<Token![:]>().map_err(|_| format_of(key))?;
        match word.as_str() {
            "schema" => self.schema = Some(input.parse().map_err(|_| format_of(key))?),
            "crate" => {
                let path = input.call(Path::parse_mod_style);
                self.krate = Some(path.map_err(|_| format_of(key))?);
            }
            "audited" => entries(key, input, &mut self.audited, errors, NO_MODEL)?,
            "exempt" => entries(key, input, &mut self.exempt, errors, NO_REASON)?,
            "table_macros" => self.table_macros.extend(names(key, input)?),
            _ => self.secrets.extend(words(key, input, errors)?),
        }
        Ok(())
    }
}

impl Parse for Schema {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let path = input.parse()?;
        input.parse::<Token![=>]>()?;
        let module = input.call(Path::parse_mod_style)?;
        Ok(Self { path, module })
    }
}

const NO_MODEL: fn(&str) -> String = |name| {
    format!(
        "`{name}` is audited by what? write its model, the struct that derives `Auditable`: `{name}: User`"
    )
};

const NO_REASON: fn(&str) -> String =
    |name| format!("why is `{name}` not audited? write the reason: `{name}: \"…\"`");

/// `{ name: value, … }`
fn entries<T: Parse>(
    key: &Ident,
    input: ParseStream<'_>,
    list: &mut Vec<Entry<T>>,
    errors: &mut Errors,
    no_value: fn(&str) -> String,
) -> syn::Result<()> {
    let content = braces(input).map_err(|_| format_of(key))?;
    while !content.is_empty() {
        let name = content.call(table_name)?;
        let colon = content.parse::<Option<Token![:]>>()?;
        let entry = Entry {
            name,
            value: colon.and_then(|_| value(&content)),
        };
        if entry.value.is_none() {
            errors.at(entry.span(), no_value(&entry.name()));
            skip(&content)?;
        }
        comma(&content, &format!("the next table of `{key}`"))?;
        list.push(entry);
    }
    Ok(())
}

fn braces(input: ParseStream<'_>) -> syn::Result<ParseBuffer<'_>> {
    let content;
    braced!(content in input);
    Ok(content)
}

/// `users`, `auth::users`
fn table_name(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let mut names = vec![input.call(Ident::parse_any)?];
    while input.parse::<Option<Token![::]>>()?.is_some() {
        names.push(input.call(Ident::parse_any)?);
    }
    Ok(names)
}

/// The value where it is one, up to the entry's end.
fn value<T: Parse>(input: ParseStream<'_>) -> Option<T> {
    let ahead = input.fork();
    let value = ahead.parse().ok()?;
    let at_end = ahead.is_empty() || ahead.peek(Token![,]);
    at_end.then(|| {
        input.advance_to(&ahead);
        value
    })
}

/// Goes to the end of an entry that cannot be read.
fn skip(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn comma(input: ParseStream<'_>, before: &str) -> syn::Result<()> {
    if input.is_empty() || input.parse::<Option<Token![,]>>()?.is_some() {
        return Ok(());
    }
    Err(input.error(format!("expected `,` before {before}")))
}

/// `[table]`
fn names(key: &Ident, input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let parse = |input: ParseStream<'_>| {
        let content;
        bracketed!(content in input);
        content.parse_terminated(Ident::parse_any, Token![,])
    };
    let names = parse(input).map_err(|_| format_of(key))?;
    Ok(names.into_iter().collect())
}

/// `["iban", "tax number"]`
fn words(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Vec<LitStr>> {
    let parse = |input: ParseStream<'_>| {
        let content;
        bracketed!(content in input);
        content.parse_terminated(<LitStr as Parse>::parse, Token![,])
    };
    let mut words: Vec<LitStr> = parse(input)
        .map_err(|_| format_of(key))?
        .into_iter()
        .collect();
    words.retain(|word| match no_word(&word.value()) {
        Some(message) => {
            errors.at(word.span(), message);
            false
        }
        None => true,
    });
    Ok(words)
}

/// Why this is no word to look for in names.
fn no_word(text: &str) -> Option<String> {
    let small: String = text
        .chars()
        .map(|letter| {
            if letter.is_alphanumeric() {
                letter
            } else {
                ' '
            }
        })
        .flat_map(char::to_lowercase)
        .collect();
    let small = small.split_whitespace().collect::<Vec<_>>().join(" ");
    if small.is_empty() {
        return Some("this is no word of a name: remove it".to_owned());
    }
    (small != text).then(|| {
        format!("a word is in small letters, with a blank between several: write `\"{small}\"`")
    })
}

fn unknown_key(key: &Ident, word: &str) -> syn::Error {
    let hint = match nearest(word, KEYS.iter().copied()) {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => String::new(),
    };
    let keys = KEYS.join("`, `");
    let message = format!("`{word}` is unknown{hint}: `audit_schema!` takes `{keys}`");
    syn::Error::new(key.span(), message)
}

fn format_of(key: &Ident) -> syn::Error {
    let example = match key.to_string().as_str() {
        "schema" => "schema: \"src/schema.rs\" => crate::schema",
        "audited" => "audited: { users: User }",
        "exempt" => "exempt: { sessions: \"the reason\" }",
        "secrets" => "secrets: [\"iban\", \"tax number\"]",
        "table_macros" => "table_macros: [table]",
        _ => "crate: ::my_crate::audit_diesel",
    };
    syn::Error::new(key.span(), format!("write `{example}`"))
}
