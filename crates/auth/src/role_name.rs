//! The names of roles.

/// Whether `name` is letters, digits, `_`, `-` and `.`, with neither of the last two at an end.
/// Roles are found by their names in lower case.
pub(crate) fn is_role_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '.'))
}
