//! JSON as Go writes it.

use serde::Serialize;

/// `document`, indented by two spaces. Go escapes `<`, `>` and `&`, so that a page can embed it.
pub(super) fn write(document: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(document)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // None of these occurs in JSON outside of strings.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn markup_is_escaped() {
        let text = super::write(&serde_json::json!({"a": "<b>&"})).unwrap();
        assert_eq!(text, "{\n  \"a\": \"\\u003cb\\u003e\\u0026\"\n}");
    }
}
