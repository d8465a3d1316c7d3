//! What makes two requests the same.

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, Method};

/// A digest: of a request, or of a token.
pub(crate) type Key = [u8; 32];

/// Header fields that an answer may depend on, beside those of Vault itself.
const OTHERS: [&str; 3] = ["accept", "authorization", "content-type"];
/// Of Vault's, those that name the request or its way, and change with each.
const PASSING: [&str; 3] = ["x-vault-request", "x-vault-token", "x-vault-index"];

/// The digest of a request: its method, path and query, header fields, token and body.
pub(crate) fn request(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    token: Option<&str>,
    body: &[u8],
) -> Key {
    let mut parts: Vec<Vec<u8>> = vec![method.as_str().into(), target.into()];
    let mut fields: Vec<_> = headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let vaults = name.starts_with("x-vault-") && !PASSING.contains(&name);
            vaults || OTHERS.contains(&name)
        })
        .map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes()].concat())
        .collect();
    fields.sort();
    parts.push(fields.len().to_be_bytes().into());
    parts.extend(fields);
    parts.push(token.unwrap_or_default().into());
    parts.push(body.into());
    let mut context = Context::new(&SHA256);
    for part in &parts {
        // Lengths, so that no two lists of parts read alike.
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    finish(context)
}

/// The digest of a token.
pub(crate) fn digest(text: &str) -> Key {
    let mut context = Context::new(&SHA256);
    context.update(text.as_bytes());
    finish(context)
}

fn finish(context: Context) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}
