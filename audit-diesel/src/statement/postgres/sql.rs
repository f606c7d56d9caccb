//! How texts stand in SQL.

/// A text, which means the same whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let mut tag = "audit".to_owned();
    while text.contains(&format!("${tag}$")) {
        tag.push('_');
    }
    format!("${tag}${text}${tag}$")
}
