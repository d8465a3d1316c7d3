//! Patterns with `*`.

/// Whether `text` is `glob`, in which every `*` stands for anything, also for nothing.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The earliest place for each part leaves the most room for those that follow.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn globs_match_anything_for_a_star() {
        for (glob, text, want) in [
            ("spiffe://*/sa/*", "spiffe://d/ns/a/sa/b", true),
            ("spiffe://*/sa/*", "spiffe://d/ns/a/b", false),
            ("z?", "zz", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*a", "a", false),
            ("a*b*c", "abbc", true),
            ("a*bc*c", "abc", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob_matches(glob, text), want, "{glob} {text}");
        }
    }
}
