//! `hash` and `hash/<algorithm>`.

use holdfast_logical::{Error, Reply, Request};
use serde_json::json;

use super::answer;
use super::encoding::{base64, from_base64};
use super::hash_algorithm::HashAlgorithm;
use super::route::Route;

/// `POST hash[/<algorithm>]`
pub(super) fn hash(request: &Request, route: &Route<'_>) -> Reply {
    let fields = request.fields();
    let input = fields.string("input")?;
    if !request.data.contains_key("input") {
        return Err(Error::invalid("input missing"));
    }
    let name = match route.after {
        "" => fields.string("algorithm")?.unwrap_or_else(|| "sha2-256".to_owned()),
        name => name.to_owned(),
    };
    let input = from_base64(&input.unwrap_or_default())
        .map_err(|error| Error::invalid(format!("unable to decode input as base64: {error}")))?;
    let encode = encoder(fields.string("format")?.as_deref(), "hex")?;
    let algorithm = match HashAlgorithm::parse(&name)? {
        // Neither is offered by this endpoint.
        None | Some(HashAlgorithm::None | HashAlgorithm::Sha1) => {
            return Err(Error::invalid(format!("unsupported algorithm {name}")));
        }
        Some(algorithm) => algorithm,
    };
    answer(json!({ "sum": encode(&algorithm.hash(&input)) }))
}

/// How bytes are written: in hexadecimal or in base64.
pub(super) fn encoder(format: Option<&str>, default: &str) -> Result<fn(&[u8]) -> String, Error> {
    match format.unwrap_or(default) {
        "hex" => Ok(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        "base64" => Ok(base64),
        other => Err(Error::invalid(format!(
            "unsupported encoding format {other}; must be \"hex\" or \"base64\""
        ))),
    }
}
