//! The operator's SQL: what is put in place of `{{name}}` and its like.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::Timestamp;
use zeroize::Zeroizing;

/// What stands for the placeholders. A placeholder without a value stays as it is written.
#[derive(Default)]
pub(crate) struct Values<'a> {
    /// `{{name}}` and `{{username}}`.
    pub(crate) name: &'a str,
    /// `{{password}}`: the SCRAM verifier, never the password.
    pub(crate) verifier: Option<&'a str>,
    /// `{{expiration}}`.
    pub(crate) expiration: Option<&'a str>,
}

/// Puts the values in, in one pass: what a value says is not looked at again.
///
/// A statement may be written in base64, which spares people their shell's quotes.
pub(crate) fn render(statement: &str, values: &Values<'_>) -> Zeroizing<String> {
    let statement = &*decoded(statement);
    let mut text = Zeroizing::new(String::with_capacity(statement.len() + 256));
    let mut rest = statement;
    'next: while let Some(at) = rest.find("{{") {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        for (placeholder, value) in [
            ("{{name}}", Some(values.name)),
            ("{{username}}", Some(values.name)),
            (PASSWORD, values.verifier),
            ("{{expiration}}", values.expiration),
        ] {
            if let (Some(after), Some(value)) = (rest.strip_prefix(placeholder), value) {
                text.push_str(value);
                rest = after;
                continue 'next;
            }
        }
        text.push_str("{{");
        rest = &rest[2..];
    }
    text.push_str(rest);
    text
}

fn decoded(statement: &str) -> Cow<'_, str> {
    let text = STANDARD.decode(statement.trim()).ok().and_then(|b| String::from_utf8(b).ok());
    text.map_or(Cow::Borrowed(statement), Cow::Owned)
}

const PASSWORD: &str = "{{password}}";

/// `time` as `{{expiration}}` writes it, such as `2026-11-22 12:17:21+0000`. Rounded up, so that
/// no user ends before its lease.
pub(crate) fn expiration(time: Timestamp) -> String {
    let whole = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    let time = Timestamp::from_second(whole).unwrap_or(time);
    time.strftime("%Y-%m-%d %H:%M:%S+0000").to_string()
}

/// `name` as an SQL identifier.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Where `{{password}}` stands in a place that a verifier cannot take.
///
/// The server is given a verifier in place of the password, so that the password stands in no
/// log of the server's. PostgreSQL understands a verifier as the password of a role, and nowhere
/// else: in the options of a user mapping, or as an argument of a function, it would be taken for
/// the password itself, and the first login would fail long after the mistake. So the one place
/// for it is `PASSWORD '{{password}}'` in `CREATE` or `ALTER` of a `ROLE`, `USER` or `GROUP`,
/// also within a `DO` block, and everything else is refused when the statement is written.
pub(crate) fn misplaced_password(statement: &str) -> Option<String> {
    let statement = &*decoded(statement);
    let mut start = 0;
    while let Some(found) = statement[start..].find(PASSWORD) {
        let (at, end) = (start + found, start + found + PASSWORD.len());
        let before = &statement[..at];
        let own = &before[before.rfind(';').map_or(0, |semicolon| semicolon + 1)..];
        let quoted = own.ends_with('\'') && statement[end..].starts_with('\'');
        let words: Vec<String> = own
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_uppercase)
            .collect();
        // Nothing but quotes and blanks between the keyword and the placeholder.
        let clause = own.trim_end_matches('\'').trim_end();
        let follows = words.last().is_some_and(|word| word == "PASSWORD")
            && clause.to_uppercase().ends_with("PASSWORD");
        let of_role = words.windows(2).any(|pair| {
            matches!(pair[0].as_str(), "CREATE" | "ALTER")
                && matches!(pair[1].as_str(), "ROLE" | "USER" | "GROUP")
        });
        let of_mapping = words.windows(2).any(|pair| pair[0] == "USER" && pair[1] == "MAPPING");
        if !(quoted && follows && of_role && !of_mapping) {
            return Some(format!(
                "{PASSWORD} may only stand as PASSWORD '{PASSWORD}' in CREATE or ALTER ROLE or \
                 USER: the server is given a SCRAM verifier there, never the password itself"
            ));
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once() {
        let values =
            Values { name: "{{password}}", verifier: Some("SCRAM"), expiration: Some("never") };
        for (statement, want) in [
            (
                "CREATE ROLE \"{{name}}\" '{{username}}'",
                "CREATE ROLE \"{{password}}\" '{{password}}'",
            ),
            ("'{{password}}' {{expiration}}", "'SCRAM' never"),
            ("{{ name }} {{other}} {{", "{{ name }} {{other}} {{"),
            ("", ""),
        ] {
            assert_eq!(render(statement, &values).as_str(), want, "{statement}");
        }
        let without = Values { name: "n", ..Values::default() };
        assert_eq!(render("{{name}} {{password}}", &without).as_str(), "n {{password}}");
    }

    #[test]
    fn expiration_is_a_literal_and_never_early() {
        let time = Timestamp::new(1_795_346_241, 1).unwrap();
        assert_eq!(expiration(time), "2026-11-22 11:17:22+0000");
        let time = Timestamp::from_second(1_795_346_241).unwrap();
        assert_eq!(expiration(time), "2026-11-22 11:17:21+0000");
    }

    #[test]
    fn a_password_stands_in_a_password_clause_or_nowhere() {
        for statement in [
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
            "create user \"{{name}}\" with encrypted password\n'{{password}}'; GRANT app TO \"{{name}}\"",
            "SELECT 1; ALTER USER \"{{name}}\" PASSWORD '{{password}}'",
            "DO $$ BEGIN EXECUTE 'CREATE ROLE \"{{name}}\" PASSWORD ''{{password}}'''; END $$",
            "GRANT app TO \"{{name}}\"",
        ] {
            assert_eq!(misplaced_password(statement), None, "{statement}");
        }
        for statement in [
            "CREATE USER MAPPING FOR \"{{name}}\" SERVER s OPTIONS (password '{{password}}')",
            "SELECT remember('{{password}}')",
            "CREATE ROLE \"{{name}}\" PASSWORD {{password}}",
            "CREATE ROLE \"{{name}}\" PASSWORD 'x{{password}}'",
            "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}x'",
            "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; SELECT remember('{{password}}')",
            "COMMENT ON ROLE \"{{name}}\" IS '{{password}}'",
        ] {
            assert!(misplaced_password(statement).is_some(), "{statement}");
        }
    }
}
