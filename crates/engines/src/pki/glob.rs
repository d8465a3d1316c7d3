//! Patterns with `*`, as roles write them.

/// Whether `text` matches `pattern`, in which each `*` stands for any text, also none.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("*b*b*", "abb", true),
            ("*b*b*", "ab", false),
            ("ftp*.example.com", "ftp1.example.com", true),
            ("ftp*.example.com", "www.example.com", false),
        ] {
            assert_eq!(super::matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
