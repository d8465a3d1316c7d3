//! What a string token says: escapes resolved, heredocs cut out of their markers.

/// The value of a quoted string, given with its quotes. What stands in `${...}` is kept as it is,
/// escapes included. None if an escape is malformed or makes bytes that are not UTF-8.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = Vec::with_capacity(rest.len());
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("${") {
            let end = interpolation_end(rest)?;
            value.extend_from_slice(&rest.as_bytes()[..end]);
            rest = &rest[end..];
        } else if c == '\\' {
            rest = unescape(&rest[1..], &mut value)?;
        } else if matches!(c, '"' | '\n') {
            return None;
        } else {
            value.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
    }
    String::from_utf8(value).ok()
}

/// The length of the `${...}` that `text` starts with, inner braces counted.
fn interpolation_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Resolves the escape whose `\` has been read. Returns what follows it.
fn unescape<'t>(text: &'t str, value: &mut Vec<u8>) -> Option<&'t str> {
    let c = text.chars().next()?;
    let digits = |from: usize, count: usize, radix: u32| {
        let digits = text.get(from..from + count)?;
        if !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
            return None;
        }
        u32::from_str_radix(digits, radix).ok()
    };
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            value.push(u8::try_from(digits(1, 2, 16)?).ok()?);
            return text.get(3..);
        }
        '0'..='7' => {
            value.push(u8::try_from(digits(0, 3, 8)?).ok()?);
            return text.get(3..);
        }
        'u' | 'U' => {
            let count = if c == 'u' { 4 } else { 8 };
            let point = digits(1, count, 16)?;
            // Half a surrogate pair becomes the replacement character, as in Go; past the last
            // code point is an error.
            if point > 0x10_FFFF {
                return None;
            }
            let c = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return text.get(1 + count..);
        }
        _ => return None,
    };
    value.push(simple);
    text.get(1..)
}

/// The value of a heredoc token, markers included: the lines between them. `<<-` takes the closing
/// marker's indentation off every line, if every line has it.
pub(crate) fn heredoc(token: &str) -> Option<String> {
    let marker = token.find('\n')?;
    let body = marker + 1;
    // The closing line has as many characters as the opening one without its `<<` (or `<<-`).
    if !token.starts_with("<<-") {
        return token.get(body..(token.len() + 1).checked_sub(marker)?).map(str::to_owned);
    }
    let inner = token.get(body..(token.len() + 2).checked_sub(marker)?)?;
    let mut lines: Vec<&str> = inner.split('\n').collect();
    let indentation = lines.pop().unwrap_or_default();
    if !lines.iter().all(|line| line.starts_with(indentation)) {
        let inner = token.get(body..(token.len() + 1).checked_sub(marker)?)?;
        return Some(inner.trim_end_matches([' ', '\t']).to_owned());
    }
    let mut value = String::with_capacity(inner.len());
    for line in lines {
        value.push_str(&line[indentation.len()..]);
        value.push('\n');
    }
    Some(value)
}
