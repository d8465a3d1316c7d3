//! Serial numbers of certificates.

use holdfast_types::Random;

/// A new number: 159 random bits, positive and of full length.
pub(super) fn generate(random: &dyn Random) -> Vec<u8> {
    let mut serial = vec![0; 20];
    random.fill(&mut serial);
    serial[0] &= 0x7f;
    if serial[0] == 0 {
        serial[0] = 1;
    }
    serial
}

/// As clients see it: bytes in hexadecimal with colons between.
pub(super) fn with_colons(serial: &[u8]) -> String {
    hexadecimal(serial, ":")
}

/// As it is stored: with hyphens, because a colon is not for every store.
pub(super) fn with_hyphens(serial: &[u8]) -> String {
    hexadecimal(serial, "-")
}

/// A number that a client wrote, as it is stored.
pub(super) fn stored(text: &str) -> String {
    text.to_ascii_lowercase().replace(':', "-")
}

/// A stored number as clients see it.
pub(super) fn shown(stored: &str) -> String {
    stored.to_ascii_lowercase().replace('-', ":")
}

pub(super) fn hexadecimal(bytes: &[u8], between: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            text.push_str(between);
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
