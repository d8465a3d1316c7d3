//! PEM: DER as text between two lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A block of a PEM text.
pub struct PemBlock {
    /// What the block says it holds, such as `CERTIFICATE`.
    pub label: String,
    /// What it holds. Wiped, because it may be a key.
    pub der: Zeroizing<Vec<u8>>,
}

/// `der` as a PEM block that ends in a line feed.
pub fn encode_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut text =
        Zeroizing::new(String::with_capacity(base64.len() * 66 / 64 + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// The first block of `text` and what follows it. Text before the block and headers in it are
/// passed over. None: there is no whole block.
pub fn decode_pem(text: &str) -> Option<(PemBlock, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    loop {
        let start = rest.find(BEGIN)?;
        let at_line_start = start == 0 || rest[..start].ends_with('\n');
        let after = &rest[start + BEGIN.len()..];
        rest = after;
        if !at_line_start {
            continue;
        }
        let (label, body) = after.split_once("-----")?;
        if label.contains('\n') {
            continue;
        }
        let end = format!("-----END {label}-----");
        let Some((body, after)) = body.split_once(&end) else { continue };
        let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
        for line in body.lines().filter(|line| !line.contains(':')) {
            base64.extend(line.chars().filter(|letter| !letter.is_ascii_whitespace()));
        }
        if let Ok(der) = STANDARD.decode(base64.as_bytes()) {
            return Some((PemBlock { label: label.to_owned(), der: der.into() }, after));
        }
    }
}
