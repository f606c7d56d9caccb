//! The macros of `audit-diesel`.

#![warn(missing_docs)]

use proc_macro::TokenStream;

/// Makes a Diesel model auditable.
#[proc_macro_derive(Auditable, attributes(audit, diesel))]
pub fn derive_auditable(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
