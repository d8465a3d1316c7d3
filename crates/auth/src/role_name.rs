//! The names of roles and users.

/// `role/PROD/...` as `role/prod/...`. None: it is written so already, or is no path of a role.
pub(crate) fn canonical(path: &str) -> Option<String> {
    canonical_below("role/", path)
}

/// The same for names below `folder`, which ends in `/`.
pub(crate) fn canonical_below(folder: &str, path: &str) -> Option<String> {
    let rest = path.strip_prefix(folder)?;
    let (name, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let lower = name.to_lowercase();
    (lower != name).then(|| format!("{folder}{lower}{below}"))
}

/// Whether `name` is letters, digits, `_`, `-` and `.`, with neither of the last two at an end.
/// Roles are found by their names in lower case.
pub(crate) fn is_role_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_role_is_known_by_its_name_in_lower_case() {
        for (path, want) in [
            ("role/PROD", Some("role/prod")),
            ("role/Prod/secret-id/LOOKUP", Some("role/prod/secret-id/LOOKUP")),
            ("role/prod", None),
            ("role/prod/X", None),
            ("role/", None),
            ("role", None),
            ("ROLE/PROD", None),
            ("login", None),
        ] {
            assert_eq!(canonical(path).as_deref(), want, "{path}");
        }
    }
}
