//! How text can be written.

/// What a text allows.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// Without quotes.
    pub(super) plain: bool,
    /// Within single quotes.
    pub(super) single: bool,
    /// As a block, a line a line.
    pub(super) block: bool,
}

/// Looks through a text.
pub(super) fn allowed(text: &str) -> Allowed {
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut special, mut breaks) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut after_space, mut after_break) = (false, false);
    let mut after_white = true;
    let mut characters = text.chars().peekable();
    let mut first = true;
    while let Some(character) = characters.next() {
        let before_white =
            characters.peek().is_none_or(|next| matches!(next, ' ' | '\t') || is_break(*next));
        match character {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
            | '@' | '`'
                if first =>
            {
                indicators = true;
            }
            '?' | '-' if first => indicators |= before_white,
            ':' => indicators |= before_white,
            '#' => indicators |= after_white,
            _ => {}
        }
        special |= !is_printable(character);
        breaks |= is_break(character);
        if character == ' ' {
            break_space |= after_break;
            (after_space, after_break) = (true, false);
        } else if is_break(character) {
            space_break |= after_space;
            (after_space, after_break) = (false, true);
        } else {
            (after_space, after_break) = (false, false);
        }
        after_white = matches!(character, ' ' | '\t') || is_break(character);
        first = false;
    }
    let edge = |character: Option<char>| {
        character.is_some_and(|character| character == ' ' || is_break(character))
    };
    let edges = edge(text.chars().next()) || edge(text.chars().next_back());
    let hidden = space_break || special;
    Allowed {
        plain: !(edges || break_space || hidden || breaks || indicators),
        single: !(break_space || hidden),
        block: !(text.ends_with(' ') || hidden),
    }
}

pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(character: char) -> bool {
    matches!(character,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// `text` between double quotes.
pub(super) fn escaped(text: &str) -> Vec<String> {
    text.chars()
        .map(|character| match character {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\0' => "\\0".to_owned(),
            '\x07' => "\\a".to_owned(),
            '\x08' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\x0b' => "\\v".to_owned(),
            '\x0c' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\x1b' => "\\e".to_owned(),
            '\u{85}' => "\\N".to_owned(),
            '\u{2028}' => "\\L".to_owned(),
            '\u{2029}' => "\\P".to_owned(),
            _ if is_printable(character) && !is_break(character) => character.to_string(),
            _ => {
                let code = u32::from(character);
                match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                }
            }
        })
        .collect()
}
