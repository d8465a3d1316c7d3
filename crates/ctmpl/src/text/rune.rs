//! Runes: characters of byte strings that need not be UTF-8.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// The first character of `bytes` and its length. A byte that starts no valid character stands for
/// U+FFFD, alone. `None` at the end.
pub(crate) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((char::from(first), 1));
    }
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((char::REPLACEMENT_CHARACTER, 1)),
    };
    let character = bytes
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    Some(character.map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, length)))
}

/// Whether the rune at the start of `bytes` is a byte that is no character.
pub(crate) fn is_invalid(rune: (char, usize)) -> bool {
    rune == (char::REPLACEMENT_CHARACTER, 1)
}

/// The characters of `bytes`, with the offset and length of each.
pub(crate) fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, char, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (character, length) = decode(&bytes[at..])?;
        at += length;
        Some((at - length, character, length))
    })
}

/// How many characters `bytes` has.
pub(crate) fn count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() { bytes.len() } else { runes(bytes).count() }
}

/// Whether Go prints the character as it is in quoted text: letters, marks, numbers, punctuation,
/// symbols and the ASCII space.
pub(crate) fn is_print(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    matches!(
        character.general_category_group(),
        GeneralCategoryGroup::Letter
            | GeneralCategoryGroup::Mark
            | GeneralCategoryGroup::Number
            | GeneralCategoryGroup::Punctuation
            | GeneralCategoryGroup::Symbol
    )
}

/// Whether the character can stand in an identifier: a letter, a digit, `_`.
pub(crate) fn is_alphanumeric(character: char) -> bool {
    if character.is_ascii() {
        return character == '_' || character.is_ascii_alphanumeric();
    }
    is_letter(character) || character.general_category() == GeneralCategory::DecimalNumber
}

/// Whether the character is a letter.
pub(crate) fn is_letter(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphabetic();
    }
    character.general_category_group() == GeneralCategoryGroup::Letter
}

/// The upper case of one character, itself where Unicode gives it several.
pub(crate) fn upper(character: char) -> char {
    match character {
        '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(character) | 8).unwrap_or(character),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => {
            char::from_u32(u32::from(character) + 9).unwrap_or(character)
        }
        _ => only(character.to_uppercase()).unwrap_or(character),
    }
}

/// The lower case of one character, itself where Unicode gives it several.
pub(crate) fn lower(character: char) -> char {
    if character == '\u{130}' {
        return 'i';
    }
    only(character.to_lowercase()).unwrap_or(character)
}

fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

/// `bytes` with each character changed; bytes that are no character become U+FFFD, as in Go.
pub(crate) fn map(bytes: &[u8], change: impl Fn(char) -> char) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (_, character, _) in runes(bytes) {
        push(&mut out, change(character));
    }
    out
}

/// Appends a character as UTF-8.
pub(crate) fn push(out: &mut Vec<u8>, character: char) {
    let mut buffer = [0; 4];
    out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
}

/// `bytes` without white space around them.
pub(crate) fn trim_space(bytes: &[u8]) -> &[u8] {
    trim(bytes, char::is_whitespace)
}

/// `bytes` without the characters at both ends for which `cut` holds.
pub(crate) fn trim(bytes: &[u8], cut: impl Fn(char) -> bool) -> &[u8] {
    trim_end(trim_start(bytes, &cut), &cut)
}

/// `bytes` without the leading characters for which `cut` holds.
pub(crate) fn trim_start(bytes: &[u8], cut: impl Fn(char) -> bool) -> &[u8] {
    let start = runes(bytes).find(|(_, character, _)| !cut(*character)).map(|(at, ..)| at);
    &bytes[start.unwrap_or(bytes.len())..]
}

/// `bytes` without the trailing characters for which `cut` holds.
pub(crate) fn trim_end(bytes: &[u8], cut: impl Fn(char) -> bool) -> &[u8] {
    let mut end = 0;
    for (at, character, length) in runes(bytes) {
        if !cut(character) {
            end = at + length;
        }
    }
    &bytes[..end]
}
