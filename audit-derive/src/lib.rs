//! The macros of `audit-diesel`, which re-exports them: applications depend on that crate.

#![warn(missing_docs)]

mod attr;
mod errors;
mod expand;
mod model;
mod schema;
mod secret_name;
mod typing;
mod validate;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::errors::Errors;
use crate::model::Model;

// Its example needs `audit-diesel`, which depends on this crate: the tests run it.
#[cfg_attr(not(doctest), doc = include_str!("auditable.md"))]
#[proc_macro_derive(Auditable, attributes(audit, diesel))]
pub fn derive_auditable(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut errors = Errors::default();
    let model = Model::read(&input, &mut errors);
    validate::check(&model, &mut errors);
    expand::expand(&model, errors).into()
}

#[doc = include_str!("audit_schema.md")]
#[proc_macro]
pub fn audit_schema(input: TokenStream) -> TokenStream {
    schema::expand(input.into()).into()
}
