//! `sys/tools/`: random bytes and hashes.

use aws_lc_rs::digest;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{DecodeError, Engine as _, alphabet};
use holdfast_logical::{Error, Response};
use serde_json::json;
use zeroize::Zeroizing;

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// The most random bytes of one request, as in OpenBao.
const MOST: usize = 128 * 1024;

/// Answers a request to `sys/tools/`; `rest` is what follows.
pub(super) fn handle(vault: &Vault, invocation: &Invocation, rest: &str) -> Result<Answer, Error> {
    let (tool, argument) = rest.split_once('/').unwrap_or((rest, ""));
    match tool {
        "random" | "hash" if !invocation.request.operation.is_write() => {
            Err(Error::UnsupportedOperation)
        }
        "random" => random(vault, invocation, argument).map(Answer::from),
        "hash" => hash(invocation, argument).map(Answer::from),
        _ => Err(Error::UnsupportedPath),
    }
}

fn random(vault: &Vault, invocation: &Invocation, argument: &str) -> Result<Response, Error> {
    let fields = invocation.request.fields();
    fields.in_path(&["source", "urlbytes"]).known(&["bytes", "format"]);
    // `random`, `random/32`, `random/platform/32`
    let named = argument.rsplit('/').next().filter(|text| !text.is_empty());
    let count = match named.and_then(|text| text.parse::<i64>().ok()) {
        Some(count) => count,
        None => fields.integer("bytes")?.unwrap_or(32),
    };
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return Err(Error::invalid("'bytes' cannot be less than 1"));
    }
    if count > MOST {
        return Err(Error::invalid(format!("'bytes' should be less than {MOST}")));
    }
    let mut bytes = vec![0; count];
    vault.random.fill(&mut bytes);
    let text = encode(&bytes, invocation, "base64")?;
    Ok(Response::data(json!({ "random_bytes": text })))
}

fn hash(invocation: &Invocation, argument: &str) -> Result<Response, Error> {
    let fields = invocation.request.fields();
    fields.in_path(&["urlalgorithm"]).known(&["algorithm"]);
    let named = Some(argument.to_owned()).filter(|name| !name.is_empty());
    let name = match named {
        Some(name) => name,
        None => fields.string("algorithm")?.unwrap_or_else(|| "sha2-256".to_owned()),
    };
    let algorithm = match name.as_str() {
        "sha2-224" => &digest::SHA224,
        "sha2-256" => &digest::SHA256,
        "sha2-384" => &digest::SHA384,
        "sha2-512" => &digest::SHA512,
        "sha3-256" => &digest::SHA3_256,
        "sha3-384" => &digest::SHA3_384,
        "sha3-512" => &digest::SHA3_512,
        other => return Err(Error::invalid(format!("unsupported algorithm {other}"))),
    };
    let input = fields.string("input")?.unwrap_or_default();
    let input = STANDARD.decode(&input).map_err(|error| {
        let at = base64_problem(&error, input.len());
        Error::invalid(format!(
            "unable to decode input as base64: illegal base64 data at input byte {at}"
        ))
    })?;
    let sum = digest::digest(algorithm, &input);
    Ok(Response::data(json!({ "sum": encode(sum.as_ref(), invocation, "hex")? })))
}

/// `sys/decode-token`: what `generate-root` made, without its one-time pad. It needs no secret of
/// the server's, and so no token.
pub(super) fn decode_token(invocation: &Invocation) -> Result<Response, Error> {
    if !invocation.request.operation.is_write() {
        return Err(Error::UnsupportedOperation);
    }
    let fields = invocation.request.fields();
    let text = |name: &str| fields.string(name).map(Option::unwrap_or_default);
    let (encoded, otp) = (Zeroizing::new(text("encoded_token")?), Zeroizing::new(text("otp")?));
    if encoded.is_empty() || otp.is_empty() {
        return Err(Error::invalid("provided 'encoded_token' or 'otp' is empty"));
    }
    let decoded = LENIENT.decode(encoded.as_bytes()).map_err(|error| {
        let at = base64_problem(&error, encoded.len());
        Error::invalid(format!(
            "error decoding base64'd token: illegal base64 data at input byte {at}"
        ))
    })?;
    let decoded = Zeroizing::new(decoded);
    if decoded.len() != otp.len() {
        return Err(Error::invalid(format!(
            "error xoring token: length of byte slices is not equivalent: {} != {}",
            decoded.len(),
            otp.len()
        )));
    }
    let token: Vec<u8> = decoded.iter().zip(otp.bytes()).map(|(byte, pad)| byte ^ pad).collect();
    let token = String::from_utf8(token)
        .map_err(|_| Error::invalid("error decoding token: it is no text under this pad"))?;
    Ok(Response::data(json!({ "token": token })))
}

/// Without padding, and whatever the last bits are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Where in the text the trouble is, as Go counts.
fn base64_problem(error: &DecodeError, length: usize) -> usize {
    match error {
        DecodeError::InvalidByte(at, _) => *at,
        DecodeError::InvalidLastSymbol { offset, .. } => *offset,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => length,
    }
}

fn encode(bytes: &[u8], invocation: &Invocation, default: &str) -> Result<String, Error> {
    let format = invocation.request.fields().string("format")?;
    match format.as_deref().filter(|format| !format.is_empty()).unwrap_or(default) {
        "hex" => Ok(hex::encode(bytes)),
        "base64" => Ok(STANDARD.encode(bytes)),
        other => Err(Error::invalid(format!(
            "unsupported encoding format \"{other}\"; must be \"hex\" or \"base64\""
        ))),
    }
}
