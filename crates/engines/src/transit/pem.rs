//! PEM as Go writes and reads it.

use super::encoding::base64;

/// A PEM block, with a line break at its end.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The first block in `text`: its label and its bytes. None: there is none.
pub(super) fn decode(text: &str) -> Option<(String, Vec<u8>)> {
    split(text).ok()?.into_iter().next()
}

/// Every block in `text`. Err: something in it is no block.
pub(super) fn split(text: &str) -> Result<Vec<(String, Vec<u8>)>, ()> {
    let mut blocks = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (label, after) = rest
            .split_once("-----BEGIN ")
            .map(|(_, after)| after)
            .and_then(|after| after.split_once("-----"))
            .ok_or(())?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(end.as_str()).ok_or(())?;
        let body: String = body.split_whitespace().collect();
        let bytes = super::encoding::from_base64(&body).map_err(|_| ())?;
        blocks.push((label.to_owned(), bytes.to_vec()));
        rest = after.trim();
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lead_back() {
        let bytes: Vec<u8> = (0..100).collect();
        let one = encode("PUBLIC KEY", &bytes);
        assert!(one.lines().all(|line| line.len() <= 64));
        assert_eq!(decode(&one), Some(("PUBLIC KEY".to_owned(), bytes.clone())));
        let two = format!("{one}\n{}", encode("CERTIFICATE", &[]));
        assert_eq!(split(&two).unwrap().len(), 2);
        for wrong in ["x", "-----BEGIN A-----", "-----BEGIN A-----\n!\n-----END A-----"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
