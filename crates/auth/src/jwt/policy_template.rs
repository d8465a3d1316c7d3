//! `token_policies_template_claims`: policies named by the claims of whoever logs in.
//!
//! OpenBao takes Go's whole template language. Here a place is a claim, `{{ .team }}`, one inside
//! another, `{{ .org.team }}`, or one whose name is no identifier, `{{ index . "my-team" }}`: what
//! decides over rights should be read at a glance. Whatever else stands between braces is refused
//! when the role is written.

use serde_json::{Map, Value};

use super::go_text::go_text;

/// A policy's name with places for claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PolicyTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The names that lead to a claim, and where in the template the first begins.
    Claim {
        path: Vec<String>,
        at: usize,
    },
}

impl PolicyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in OpenBao's words where it would refuse it, too.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let failed = |why: &str| format!("unable to parse template: template: template:1: {why}");
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let (before, after) = rest.split_at(start);
            let inner = &after[2..];
            let end = inner.find("}}").ok_or_else(|| failed("unclosed action"))?;
            let (mut action, mut before, mut next) = (&inner[..end], before, &inner[end + 2..]);
            if let Some(trimmed) = action.strip_prefix("- ") {
                (action, before) = (trimmed, before.trim_end());
            }
            if let Some(trimmed) = action.strip_suffix(" -") {
                (action, next) = (trimmed, next.trim_start());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let at = text.len() - rest.len() + start + 2 + inner[..end].find('.').unwrap_or(0);
            parts.push(claim(action.trim(), at).map_err(|why| failed(&why))?);
            rest = next;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The policy's name for these claims.
    ///
    /// # Errors
    /// A claim is missing.
    pub(super) fn apply(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Claim { path, at } => name.push_str(&go_text(find(claims, path, *at)?)),
            }
        }
        Ok(name)
    }
}

/// Reads what stands between the braces.
fn claim(action: &str, at: usize) -> Result<Part, String> {
    let refused = || format!("only a claim, as in {{{{ .team }}}}, can stand here, not {action:?}");
    if let Some(name) = action.strip_prefix("index . ") {
        let name: String = serde_json::from_str(name.trim()).map_err(|_| refused())?;
        return Ok(Part::Claim { path: vec![name], at });
    }
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    match action.strip_prefix('.') {
        Some(names) if names.split('.').all(is_name) => {
            Ok(Part::Claim { path: names.split('.').map(str::to_owned).collect(), at })
        }
        Some(_) => Err(refused()),
        None => match action.split_whitespace().next() {
            Some(word) if is_name(word) && !WORDS.contains(&word) => {
                Err(format!("function {word:?} not defined"))
            }
            _ => Err(refused()),
        },
    }
}

/// What Go's templates know, and these do not.
const WORDS: &[&str] = &[
    "and", "block", "break", "call", "continue", "define", "else", "end", "eq", "false", "ge",
    "gt", "html", "if", "index", "js", "le", "len", "lt", "ne", "nil", "not", "or", "print",
    "printf", "println", "range", "slice", "template", "true", "urlquery", "with",
];

fn find<'c>(
    claims: &'c Map<String, Value>,
    path: &[String],
    at: usize,
) -> Result<&'c Value, String> {
    // Go points at the second name where there is one.
    let at = match path {
        [first, _, ..] => at + 1 + first.len(),
        _ => at,
    };
    let failed = |why: String| {
        let path = path.join(".");
        format!(
            "unable to apply template: template: template:1:{at}: executing \"template\" at \
             <.{path}>: {why}"
        )
    };
    let mut map = claims;
    for (index, name) in path.iter().enumerate() {
        let found = map.get(name).filter(|value| !value.is_null());
        let found = found.ok_or_else(|| failed(format!("map has no entry for key {name:?}")))?;
        match (found, path.get(index + 1)) {
            (found, None) => return Ok(found),
            (Value::Object(inner), Some(_)) => map = inner,
            (_, Some(next)) => {
                return Err(failed(format!("can't evaluate field {next} in type interface {{}}")));
            }
        }
    }
    Err(failed("no claim is named".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As the real server, but for rows that say otherwise.
    #[test]
    fn claims_name_policies() {
        let claims = json!({
            "team": "red", "o": { "n": "x" }, "l": ["a", "b"], "n": 5, "a-b": "dash", "none": null,
        });
        let missing = "unable to apply template: template: template:1:";
        for (text, want) in [
            ("plain", Ok("plain".to_owned())),
            ("", Ok(String::new())),
            ("p-{{ .team }}", Ok("p-red".to_owned())),
            ("{{.team}}-{{ .o.n }}-", Ok("red-x-".to_owned())),
            ("a {{- .team -}} b", Ok("aredb".to_owned())),
            ("a {{- .team }} b", Ok("ared b".to_owned())),
            ("{{ .l }}", Ok("[a b]".to_owned())),
            ("{{ .n }}", Ok("5".to_owned())),
            ("{{ index . \"a-b\" }}", Ok("dash".to_owned())),
            (
                "p-{{ .x }}",
                Err(format!(
                    "{missing}5: executing \"template\" at <.x>: map has no entry for key \"x\""
                )),
            ),
            (
                "{{ .team.n }}",
                Err(format!(
                    "{missing}8: executing \"template\" at <.team.n>: can't evaluate field n in \
                     type interface {{}}"
                )),
            ),
            // The real server prints "<no value>".
            (
                "{{ .none }}",
                Err(format!(
                    "{missing}3: executing \"template\" at <.none>: map has no entry for key \"none\""
                )),
            ),
        ] {
            let got = PolicyTemplate::parse(text)
                .and_then(|template| template.apply(claims.as_object().unwrap()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn what_is_no_claim_is_refused_when_it_is_written() {
        let parse = "unable to parse template: template: template:1: ";
        for (text, want) in [
            ("{{ .team", "unclosed action"),
            ("{{ frob .team }}", "function \"frob\" not defined"),
            // The real server takes the rest.
            (
                "{{ range .l }}x{{ end }}",
                "only a claim, as in {{ .team }}, can stand here, not \"range .l\"",
            ),
            ("{{ . }}", "only a claim, as in {{ .team }}, can stand here, not \".\""),
            ("{{ }}", "only a claim, as in {{ .team }}, can stand here, not \"\""),
            (
                "{{ .team | len }}",
                "only a claim, as in {{ .team }}, can stand here, not \".team | len\"",
            ),
        ] {
            assert_eq!(PolicyTemplate::parse(text), Err(format!("{parse}{want}")), "{text}");
        }
    }
}
