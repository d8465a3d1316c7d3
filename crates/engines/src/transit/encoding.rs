//! Base64 and decimal numbers, read as Go reads them: clients see the words of its refusals.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::refused::Refused;

/// As Go's `StdEncoding`: padded, with whatever bits at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// As Go's `RawURLEncoding`.
const LENIENT_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Padded base64 of `bytes`.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 of `bytes` for URLs, without padding.
pub(super) fn base64_url(bytes: &[u8]) -> String {
    LENIENT_URL.encode(bytes)
}

/// Decodes padded base64. Line breaks anywhere are skipped.
///
/// # Errors
/// `illegal base64 data at input byte N`.
pub(super) fn from_base64(text: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    decode(&LENIENT, text, true)
}

/// Decodes base64 for URLs without padding.
///
/// # Errors
/// As for [`from_base64`].
pub(super) fn from_base64_url(text: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    decode(&LENIENT_URL, text, false)
}

fn decode(
    engine: &GeneralPurpose,
    text: &str,
    padded: bool,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if let Ok(bytes) = engine.decode(text) {
        return Ok(bytes.into());
    }
    // Only what is unusual comes here: line breaks, or a mistake to be named.
    if let Some(at) = corrupt_at(text.as_bytes(), padded) {
        return Err(Refused::new(format!("illegal base64 data at input byte {at}")));
    }
    let joined: Zeroizing<String> =
        text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect::<String>().into();
    match engine.decode(joined.as_bytes()) {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err(Refused::new(format!("illegal base64 data at input byte {}", text.len()))),
    }
}

/// Where Go's decoder stops. None: it does not.
fn corrupt_at(text: &[u8], padded: bool) -> Option<usize> {
    let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
    let is_digit = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || if padded { matches!(byte, b'+' | b'/') } else { matches!(byte, b'-' | b'_') }
    };
    let mut at = 0;
    // How many digits of the current group of four were read.
    let mut digits = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if is_digit(byte) {
            digits = (digits + 1) % 4;
            continue;
        }
        if is_break(byte) {
            continue;
        }
        if !padded || byte != b'=' || digits < 2 {
            return Some(at - 1);
        }
        let skip = |mut at: usize| {
            while text.get(at).is_some_and(|byte| is_break(*byte)) {
                at += 1;
            }
            at
        };
        if digits == 2 {
            at = skip(at);
            match text.get(at) {
                None => return Some(text.len()),
                Some(b'=') => at += 1,
                Some(_) => return Some(at - 1),
            }
        }
        at = skip(at);
        return (at < text.len()).then_some(at);
    }
    match digits {
        0 => None,
        1 => Some(at - 1),
        _ if padded => Some(at - digits),
        _ => None,
    }
}

/// A whole number as Go's `Atoi` reads it.
pub(super) fn atoi(text: &str) -> Option<i64> {
    // Rust's parser takes a leading `+` as well, and nothing else that Go's does not.
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals_name_gos_offsets() {
        for (text, want) in [
            ("", Ok("")),
            ("YQ==", Ok("a")),
            ("YR==", Ok("a")),
            ("Y\nQ=\r\n=", Ok("a")),
            ("YWI=\n", Ok("ab")),
            ("!", Err(0)),
            ("Y", Err(0)),
            ("YQ", Err(0)),
            ("YQ=", Err(3)),
            ("YQ=a", Err(2)),
            ("YQ==a", Err(4)),
            ("YWJjY", Err(4)),
            ("YWJjYQ", Err(4)),
            ("YWJj!", Err(4)),
            ("=", Err(0)),
            ("Y===", Err(1)),
        ] {
            let got = from_base64(text).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            let want = want.map(str::to_owned).map_err(|at: usize| {
                Refused::new(format!("illegal base64 data at input byte {at}"))
            });
            assert_eq!(got, want, "{text:?}");
        }
        assert_eq!(**from_base64_url("_-8").unwrap(), [0xff, 0xef]);
        assert!(from_base64_url("_-8=").is_err());
        assert!(from_base64("_-8=").is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(&**from_base64(&base64(&bytes)).unwrap(), &bytes);
            prop_assert_eq!(&**from_base64_url(&base64_url(&bytes)).unwrap(), &bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9+/=\\-_\\n\\r!]{0,20}") {
            let _ = from_base64(&text);
            let _ = from_base64_url(&text);
        }
    }
}
