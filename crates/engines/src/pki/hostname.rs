//! What a host's name looks like.

/// A name in the letters of the DNS: labels of other letters in Punycode.
///
/// # Errors
/// A label that is empty or longer than 63 bytes, or a name longer than 253, in the words of Go's
/// `idna` package.
pub(super) fn to_ascii(name: &str) -> Result<String, String> {
    let invalid = |label: &str| format!("idna: invalid label {label:?}");
    let mut labels = Vec::new();
    let (body, root) = match name.strip_suffix('.') {
        Some(body) => (body, "."),
        None => (name, ""),
    };
    for label in body.split('.') {
        if label.is_empty() {
            return Err(invalid(name));
        }
        let ascii = if label.is_ascii() {
            label.to_owned()
        } else {
            let punycode = idna::punycode::encode_str(label).ok_or_else(|| invalid(label))?;
            format!("xn--{punycode}")
        };
        if ascii.len() > 63 {
            return Err(invalid(&ascii));
        }
        labels.push(ascii);
    }
    let joined = labels.join(".");
    if joined.len() > 253 {
        return Err(invalid(&joined));
    }
    Ok(joined + root)
}

/// Letters, digits, and hyphens between those.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Labels with dots between, perhaps `*` as the first, perhaps a dot at the end.
pub(super) fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = name.strip_prefix("*.").unwrap_or(name);
    name.split('.').all(is_label)
}

/// The leftmost label of a wildcard name: `*`, alone or with a label before, after, or both.
pub(super) fn is_wildcard_label(label: &str) -> bool {
    let Some((before, after)) = label.split_once('*') else { return false };
    (before.is_empty() || is_label(before)) && (after.is_empty() || is_label(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_is_none() {
        for (name, want) in [
            ("a", true),
            ("a.b-c.d1", true),
            ("*.a.b", true),
            ("a.b.", true),
            ("", false),
            ("*", false),
            ("a..b", false),
            ("-a.b", false),
            ("a_b.c", false),
            ("a b", false),
            ("a.*.b", false),
        ] {
            assert_eq!(is_hostname(name), want, "{name}");
        }
        for (label, want) in [
            ("*", true),
            ("b*z", true),
            ("*z", true),
            ("b*", true),
            ("", false),
            ("-*", false),
            ("**", false),
        ] {
            assert_eq!(is_wildcard_label(label), want, "{label}");
        }
    }

    #[test]
    fn other_letters_are_written_in_punycode() {
        assert_eq!(to_ascii("bücher.example.").unwrap(), "xn--bcher-kva.example.");
        assert_eq!(to_ascii("A.b").unwrap(), "A.b");
        assert_eq!(to_ascii("a..b").unwrap_err(), "idna: invalid label \"a..b\"");
        assert!(to_ascii("").is_err());
        assert!(to_ascii(&"a".repeat(64)).is_err());
        assert!(to_ascii(&"a.".repeat(200)).is_err());
    }
}
