//! Tables, and values in them, as Go prints them.

use std::time::Duration;

use holdfast_types::format_go_duration;
use serde_json::Value;

/// How long lines of prose may be.
const WIDTH: usize = 78;
/// What stands between two columns.
const GLUE: &str = "    ";

/// A table with its heading underlined; no newline at its end.
pub(super) fn write(heading: &[&str], mut rows: Vec<Vec<String>>) -> String {
    let line = |text: &&str| "-".repeat(text.len());
    rows.insert(0, heading.iter().map(|text| (*text).to_owned()).collect());
    rows.insert(1, heading.iter().map(line).collect());
    write_plain(&rows)
}

/// A table without a heading; no newline at its end.
pub(super) fn write_plain(rows: &[Vec<String>]) -> String {
    let cell = |text: &String| match text.trim() {
        "" => "n/a".to_owned(),
        text => text.to_owned(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut out = String::new();
    for row in &rows {
        for (column, text) in row.iter().enumerate() {
            out.push_str(text);
            if column + 1 < row.len() {
                let padding = widths[column] - text.chars().count();
                out.extend(std::iter::repeat_n(' ', padding));
                out.push_str(GLUE);
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end_matches('\n').len());
    out
}

/// A value as Go's `%v` prints it: `map[a:1 b:[x y]]`.
pub(super) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// A list as Go's `%q` prints it: `["a" "b"]`.
pub(super) fn go_quoted(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// Whether a field of this name holds seconds.
pub(super) fn looks_like_duration(key: &str) -> bool {
    ["period", "ttl", "duration"].iter().any(|name| {
        key == *name || key.strip_suffix(name).is_some_and(|prefix| prefix.ends_with('_'))
    }) || matches!(key, "lease_max" | "ttl_max")
}

/// Seconds as people write them: `1h`, `1h30m`, `45s`.
pub(super) fn human_seconds(seconds: i64) -> String {
    let text = format_go_duration(Duration::from_secs(seconds.unsigned_abs()));
    let text = text.strip_suffix("m0s").map_or(text.clone(), |text| format!("{text}m"));
    let text = match text.split_once("h0m") {
        Some((hours, rest)) => format!("{hours}h{rest}"),
        None => text,
    };
    if seconds < 0 { format!("-{text}") } else { text }
}

/// `text` broken into lines at spaces, each led by `padding` spaces.
pub(super) fn wrap(text: &str, padding: usize) -> String {
    let limit = WIDTH - padding;
    let indent = " ".repeat(padding);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > limit {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["longer".into(), String::new()]];
        let want = "Key       Value\n---       -----\na         1\nlonger    n/a";
        assert_eq!(write(&["Key", "Value"], rows), want);
    }

    #[test]
    fn values_print_as_in_go() {
        for (value, want) in [
            (json!(null), "<nil>"),
            (json!({"b": [1, "x"], "a": null}), "map[a:<nil> b:[1 x]]"),
            (json!([]), "[]"),
            (json!(true), "true"),
        ] {
            assert_eq!(go_value(&value), want);
        }
        assert_eq!(go_quoted(&["a".into(), "b c".into()]), "[\"a\" \"b c\"]");
    }

    #[test]
    fn durations_lose_their_zeros() {
        for (seconds, want) in [
            (0, "0s"),
            (45, "45s"),
            (3600, "1h"),
            (2_764_800, "768h"),
            (5400, "1h30m"),
            (3605, "1h5s"),
        ] {
            assert_eq!(human_seconds(seconds), want);
        }
        for (key, want) in [("ttl", true), ("max_lease_ttl", true), ("battle", false)] {
            assert_eq!(looks_like_duration(key), want, "{key}");
        }
    }
}
