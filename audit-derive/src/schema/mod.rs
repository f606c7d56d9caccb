//! `audit_schema!`: input → file → check → expand.

mod check;
mod expand;
mod file;
mod imports;
mod input;
mod table;
#[cfg(test)]
mod tests;

use std::env;
use std::path::PathBuf;

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::{Ident, parse_quote};

use crate::errors::Errors;
use crate::schema::check::Lists;
use crate::schema::file::Reader;
use crate::schema::input::Input;

/// The macro's expansion. Where the input has mistakes, `SCHEMA` is there all the same, so that
/// its uses are not reported as well.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let input = Input::read(tokens, &mut errors);
    let krate = input
        .krate
        .clone()
        .unwrap_or_else(|| parse_quote!(::audit_diesel));
    let Some(schema) = &input.schema else {
        return expand::nothing(&krate, errors);
    };
    let table_macros = input.table_macros.iter().map(Ident::to_string).collect();
    let mut reader = Reader::new(manifest_folder(), schema.path.span(), table_macros);
    let segments = schema.module.segments.iter();
    let module: Vec<_> = segments.map(|s| s.ident.unraw().to_string()).collect();
    reader.read(&schema.path.value(), &module, &mut errors);
    if !reader.is_complete() {
        // What is missing in the lists cannot be told.
        return expand::nothing(&krate, errors);
    }
    let lists = Lists::check(&input, schema, &reader.tables, &mut errors);
    expand::expand(&krate, &input, schema, &reader, &lists, errors)
}

/// The folder of the `Cargo.toml` that is built. Cargo sets it; without Cargo paths are taken as
/// they are.
fn manifest_folder() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from)
}
