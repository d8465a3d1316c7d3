//! YAML as the official client writes it: block style, keys sorted, quotes only where the plain
//! text would mean something else.

use serde_json::Value;

/// `value` as a YAML document, without a newline at its end.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    write_node(&mut out, value, 0, Place::Top);
    out.truncate(out.trim_end().len());
    out
}

/// What stands before a node.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    /// `key:`
    Key,
    /// `-`
    Item,
}

fn write_node(out: &mut String, value: &Value, indent: usize, place: Place) {
    let lead = |out: &mut String, first: bool| match (first, place) {
        (true, Place::Key) => {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
        (true, Place::Item) => out.push(' '),
        (true, Place::Top) => {}
        (false, _) => out.extend(std::iter::repeat_n(' ', indent)),
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, value)) in fields.iter().enumerate() {
                lead(out, index == 0);
                out.push_str(&scalar(key, indent));
                out.push(':');
                // A list stands below its key without further indentation.
                let deeper = if value.is_array() { indent } else { indent + 2 };
                write_node(out, value, deeper, Place::Key);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                lead(out, index == 0);
                out.push('-');
                write_node(out, item, indent + 2, Place::Item);
            }
        }
        _ => {
            if place != Place::Top {
                out.push(' ');
            }
            match value {
                Value::String(text) => out.push_str(&scalar(text, indent)),
                Value::Object(_) => out.push_str("{}"),
                other => out.push_str(&other.to_string()),
            }
            out.push('\n');
        }
    }
}

/// `text` plain, in quotes, or as a block of lines indented by `indent`.
fn scalar(text: &str, indent: usize) -> String {
    let printable = text.chars().all(|c| c == '\n' || !c.is_control());
    if text.contains('\n') && printable && !text.starts_with([' ', '\n']) {
        let chomp = match text.strip_suffix('\n') {
            None => "-",
            Some(rest) if rest.ends_with('\n') => "+",
            Some(_) => "",
        };
        let mut out = format!("|{chomp}");
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(line);
            }
        }
        return out;
    }
    if !printable || text.contains('\n') {
        return Value::from(text).to_string();
    }
    if resolves(text) {
        return format!("\"{text}\"");
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Whether the plain text would be read as something else than text. Such text gets double quotes.
fn resolves(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let digits = lower.trim_start_matches(['+', '-']).replace('_', "");
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (digits.parse::<f64>().is_ok()
            || ["0x", "0o", "0b"].iter().any(|prefix| {
                digits.strip_prefix(prefix).is_some_and(|rest| {
                    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit())
                })
            }));
    let date = text.len() >= 8
        && text.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && text.as_bytes()[4] == b'-'
        && text.parse::<jiff::Timestamp>().is_ok() | text.parse::<jiff::civil::Date>().is_ok();
    word || number || date || matches!(lower.as_str(), ".inf" | "-.inf" | "+.inf" | ".nan")
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let second = text.chars().nth(1);
    let starts_plain = match first {
        None => false,
        Some('-' | '?' | ':') => second.is_some_and(|c| c != ' '),
        Some(c) => !"#,[]{}&*!|>'\"%@`= \t".contains(c),
    };
    starts_plain
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !text.starts_with("---")
        && !text.starts_with("...")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::write;

    #[test]
    fn documents_are_in_block_style() {
        for (value, want) in [
            (
                json!({"b": {"c": 1}, "a": ["x", {"y": null, "z": []}]}),
                "a:\n- x\n- \"y\": null\n  z: []\nb:\n  c: 1",
            ),
            (json!("plain"), "plain"),
            (
                json!(["true", "12", "a: b", "it's", ""]),
                "- \"true\"\n- \"12\"\n- 'a: b'\n- it's\n- \"\"",
            ),
            (json!({"t": "a\nb\n", "u": "a\nb"}), "t: |\n  a\n  b\nu: |-\n  a\n  b"),
            (json!({}), "{}"),
            (json!({"e": {}}), "e: {}"),
        ] {
            assert_eq!(write(&value), want);
        }
    }
}
