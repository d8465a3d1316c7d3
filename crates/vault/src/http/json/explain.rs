//! What is wrong with a JSON text, in the words of Go's decoder.
//!
//! Clients and their tests know these words, so they are part of the wire. This runs only after a
//! text has been refused; it walks it once more with Go's grammar and reports the first fault.

use std::iter::Peekable;
use std::str::Chars;

const EOF: &str = "unexpected EOF";

/// The first fault in `text`, or none where Go would find none.
pub(super) fn syntax_error(text: &str) -> Option<String> {
    let mut walk = Walk { rest: text.chars().peekable() };
    walk.value().err()
}

/// The fault in what follows a complete value, if what follows does not begin another one.
pub(super) fn trailing(rest: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(rest);
    let next = text.chars().find(|c| !is_blank(*c))?;
    match next {
        '{' | '[' | '"' | '-' | '0'..='9' => None,
        // A word is read to its end before it counts as a value.
        't' | 'f' | 'n' => syntax_error(&text),
        other => Some(invalid(other, "looking for beginning of value")),
    }
}

struct Walk<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Walk<'_> {
    /// Nesting is bounded before this runs.
    fn value(&mut self) -> Result<(), String> {
        match self.token()? {
            '{' => self.object(),
            '[' => self.array(),
            '"' => self.string(),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            first @ ('-' | '0'..='9') => self.number(first),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn object(&mut self) -> Result<(), String> {
        if self.peek_token() == Some('}') {
            self.rest.next();
            return Ok(());
        }
        loop {
            match self.token()? {
                '"' => self.string()?,
                other => return Err(invalid(other, "looking for beginning of value")),
            }
            match self.token()? {
                ':' if self.peek_token() == Some('}') => {
                    return Err("missing value after object key".to_owned());
                }
                ':' => self.value()?,
                other => return Err(invalid(other, "after object key")),
            }
            match self.token()? {
                '}' => return Ok(()),
                ',' if self.peek_token() == Some('}') => {
                    return Err(invalid(',', "looking for beginning of value"));
                }
                ',' => {}
                other => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<(), String> {
        if self.peek_token() == Some(']') {
            self.rest.next();
            return Ok(());
        }
        loop {
            self.value()?;
            match self.token()? {
                ']' => return Ok(()),
                ',' if self.peek_token() == Some(']') => {
                    return Err(invalid(',', "looking for beginning of value"));
                }
                ',' => {}
                other => return Err(invalid(other, "after array element")),
            }
        }
    }

    /// The rest of a string, after its opening quote.
    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => self.escape()?,
                control if control < ' ' => return Err(invalid(control, "in string")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let kind = self.next()?;
        match kind {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => Ok(()),
            'u' => {
                let digits: String = self.rest.by_ref().take(4).collect();
                if digits.chars().count() < 4 {
                    return Err(EOF.to_owned());
                }
                if digits.chars().all(|c| c.is_ascii_hexdigit()) {
                    return Ok(());
                }
                Err(format!("invalid escape sequence `\\u{digits}` in string"))
            }
            other => Err(format!("invalid escape sequence `\\{other}` in string")),
        }
    }

    /// The rest of `true`, `false` or `null`, after its first letter.
    fn literal(&mut self, word: &str) -> Result<(), String> {
        for want in word.chars().skip(1) {
            let got = self.next()?;
            if got != want {
                return Err(invalid(got, &format!("in literal {word} (expecting '{want}')")));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: char) -> Result<(), String> {
        let integer = if first == '-' { self.digit()? } else { first };
        if integer != '0' {
            self.digits();
        }
        if self.rest.next_if_eq(&'.').is_some() {
            self.digit()?;
            self.digits();
        }
        if self.rest.next_if(|c| matches!(c, 'e' | 'E')).is_some() {
            self.rest.next_if(|c| matches!(c, '+' | '-'));
            self.digit()?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self) -> Result<char, String> {
        match self.next()? {
            digit @ '0'..='9' => Ok(digit),
            other => Err(invalid(other, "in numeric literal")),
        }
    }

    fn digits(&mut self) {
        while self.rest.next_if(char::is_ascii_digit).is_some() {}
    }

    fn next(&mut self) -> Result<char, String> {
        self.rest.next().ok_or_else(|| EOF.to_owned())
    }

    /// The next character that is no blank.
    fn token(&mut self) -> Result<char, String> {
        self.peek_token();
        self.next()
    }

    fn peek_token(&mut self) -> Option<char> {
        while self.rest.next_if(|c| is_blank(*c)).is_some() {}
        self.rest.peek().copied()
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// A character quoted as Go's `strconv.QuoteRune` does, and what was expected of it.
fn invalid(c: char, place: &str) -> String {
    let quoted = match c {
        '\'' => "\\'".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        control if control.is_control() => format!("\\x{:02x}", u32::from(control)),
        printable => printable.to_string(),
    };
    format!("invalid character '{quoted}' {place}")
}
