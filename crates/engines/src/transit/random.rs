//! `random`: bytes from the kernel.

use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::Random;
use serde_json::json;
use zeroize::Zeroizing;

use super::digest::encoder;
use super::encoding::atoi;
use super::route::Route;

/// The most bytes of one request, as in OpenBao.
const MOST: i64 = 128 * 1024;

/// `POST random[/<source>][/<bytes>]`: a source that is a number is how many bytes.
pub(super) fn bytes(request: &Request, route: &Route<'_>, random: &dyn Random) -> Reply {
    let fields = request.fields();
    let in_body = || Ok::<_, Error>(fields.integer("bytes")?.unwrap_or(32));
    let in_path = |text: &str| {
        atoi(text).ok_or_else(|| {
            Error::invalid(format!(
                "error parsing url-set byte count: strconv.Atoi: parsing {text:?}: invalid syntax"
            ))
        })
    };
    let (source, count) = match (route.before, route.after) {
        ("", _) => ("platform", in_body()?),
        (source @ ("platform" | "seal" | "all"), "") => (source, in_body()?),
        (count, "") => ("platform", in_path(count)?),
        (source, count) => (source, in_path(count)?),
    };
    if count < 1 {
        return Err(Error::invalid("'bytes' cannot be less than 1"));
    }
    if count > MOST {
        return Err(Error::invalid(format!("'bytes' should be less than {MOST}")));
    }
    let format = fields.string("format")?;
    let encode = encoder(format.as_deref(), "base64").map_err(|_| {
        let format = format.as_deref().unwrap_or_default();
        Error::invalid(format!(
            "unsupported encoding format {format:?}; must be \"hex\" or \"base64\""
        ))
    })?;
    if !matches!(source, "platform" | "seal" | "all") {
        return Err(Error::invalid(format!(
            "unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\""
        )));
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(count).unwrap_or_default()]);
    random.fill(&mut bytes);
    let response = Response::data(json!({ "random_bytes": encode(&bytes) }));
    Ok(Some(match source {
        "seal" => {
            response.warn("no seal/entropy augmentation available, using platform entropy source")
        }
        _ => response,
    }))
}
