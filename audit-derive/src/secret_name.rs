//! What is to be done about a name that says secret.

/// What the author has to decide, where the attribute stands at `place`.
pub(crate) fn to_decide(place: &str) -> String {
    format!(
        "write `#[audit(redact)]`{place} to record that the value changed and never the value, or \
         `#[audit(plain)]` to record it in clear text; `secrets: [\"…\"]` in `audit_schema!` adds \
         words that say secret"
    )
}
