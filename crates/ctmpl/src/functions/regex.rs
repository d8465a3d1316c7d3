//! Regular expressions, as Go writes them: classes such as `\d` are of ASCII.

use regex::bytes::{Regex, RegexBuilder};

use super::Function;
use super::Parameter::Text;
use crate::Value;
use crate::error::Fault;
use crate::run::Run;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("regexMatch", &[Text, Text], |run, arguments| {
        let text = arguments[1].bytes();
        run.budget.allow(text.len())?;
        Ok(Value::bool(compile(arguments[0].bytes())?.is_match(text)))
    }),
    Function::derives("regexReplaceAll", &[Text, Text, Text], |run, arguments| {
        let [pattern, replacement, text] = [0, 1, 2].map(|index| arguments[index].bytes());
        Ok(Value::text(replace_all(run, pattern, text, replacement, true)?))
    }),
];

/// Replaces all matches; `$1` and `${name}` stand for groups if it `expands`.
pub(super) fn replace_all(
    run: &mut Run<'_>,
    pattern: &[u8],
    text: &[u8],
    replacement: &[u8],
    expands: bool,
) -> Result<Vec<u8>, Fault> {
    let regex = compile(pattern)?;
    let mut out = Vec::new();
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        let Some(found) = captures.get(0) else { continue };
        out.extend_from_slice(&text[last..found.start()]);
        if expands {
            captures.expand(replacement, &mut out);
        } else {
            out.extend_from_slice(replacement);
        }
        last = found.end();
        if out.len() > run.budget.size_limit() {
            return Err(crate::error::Exceeded::Output.into());
        }
        run.budget.charge(1)?;
    }
    out.extend_from_slice(&text[last..]);
    run.budget.allow(out.len().max(text.len()))?;
    Ok(out)
}

/// Compiles a pattern of Go's syntax.
pub(super) fn compile(pattern: &[u8]) -> Result<Regex, Fault> {
    /// A compiled pattern may be this large, in bytes: `(a{1000}){1000}` is not.
    const SIZE: usize = 1 << 20;
    let refused = |reason: &str| Fault::new(format!("error parsing regexp: {reason}"));
    let text = std::str::from_utf8(pattern).map_err(|_| refused("invalid UTF-8"))?;
    RegexBuilder::new(&translate(text)).size_limit(SIZE).build().map_err(|problem| match problem {
        regex::Error::CompiledTooBig(_) => refused("expression too large"),
        // The pattern is not repeated: it may be a secret.
        _ => refused("invalid expression"),
    })
}

/// Go's syntax in the words of the regex crate: `\Q…\E` is quoted, `\d`, `\s`, `\w` and `\b` are of
/// ASCII, `[`, `&&`, `~~` and `--` within brackets stand for themselves.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars().peekable();
    let (mut class, mut first) = (false, false);
    while let Some(character) = characters.next() {
        let opening = std::mem::take(&mut first);
        match character {
            '\\' => match characters.next() {
                Some('Q') if !class => {
                    let rest: String = characters.by_ref().collect();
                    let (quoted, rest) = rest.split_once("\\E").unwrap_or((&rest, ""));
                    out.push_str(&regex::escape(quoted));
                    out.push_str(&translate(rest));
                    return out;
                }
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str("[\\t\\n\\x0c\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\x0c\\r ]"),
                Some('b') if !class => out.push_str("(?-u:\\b)"),
                // Between any two bytes, which within UTF-8 Go never is.
                Some('B') if !class => out.push_str("(?-u:\\B)"),
                Some('C') if !class => out.push_str("(?s-u:.)"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if class => {
                if characters.peek() == Some(&':') {
                    // A named class, [[:alpha:]].
                    out.push('[');
                    for inner in characters.by_ref() {
                        out.push(inner);
                        if inner == ']' {
                            break;
                        }
                    }
                } else {
                    out.push_str("\\[");
                }
            }
            '[' => {
                class = true;
                first = true;
                out.push('[');
                if characters.peek() == Some(&'^') {
                    out.push('^');
                    characters.next();
                }
            }
            ']' if class && !opening => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(character);
            }
            '-' if class && characters.peek() == Some(&'-') => out.push_str("\\-"),
            _ => out.push(character),
        }
    }
    out
}
