//! `hmac/<name>`, and verifying HMACs.

use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::{SecretBytes, constant_time_eq};
use serde_json::{Value, json};

use super::batch::{self, TextItem, text};
use super::ciphertext::{self, Versioned};
use super::encoding::{base64, from_base64};
use super::hash_algorithm::HashAlgorithm;
use super::key::Key;
use super::refused::Refused;
use super::route::Route;
use super::{Transit, answer};

impl Transit {
    /// `POST hmac/<name>[/<algorithm>]`
    pub(super) async fn hmac(&self, request: &Request, route: &Route<'_>) -> Reply {
        let fields = request.fields();
        let asked = fields.integer("key_version")?.unwrap_or_default();
        let algorithm = match route.after {
            "" => fields.string("algorithm")?.unwrap_or_else(|| "sha2-256".to_owned()),
            algorithm => algorithm.to_owned(),
        };
        let key = self.existing(route.name, "encryption key not found").await?;
        let latest = i64::from(key.settings.latest_version);
        let asked = if asked == 0 { latest } else { asked };
        if asked != latest && asked < i64::from(key.settings.min_encryption_version) {
            return Err(Error::invalid(
                "cannot generate HMAC: version is too old (disallowed by policy)",
            ));
        }
        let secret = hmac_key(&key, asked)?;
        // An unknown name reads to OpenBao as its first algorithm, whose number is 0.
        let algorithm = HashAlgorithm::parse(&algorithm)?
            .ok_or_else(|| Error::invalid("unsupported algorithm '\\x00'"))?;
        if algorithm == HashAlgorithm::None {
            return Err(Error::invalid("algorithm cannot be none"));
        }
        let items = batch::items(request, |value| batch::read_text_items(value, "HMAC"))?;
        let is_batch = items.is_some();
        let items = match items {
            Some(items) => items,
            None if !request.data.contains_key("input") => {
                return Err(Error::invalid("missing input for HMAC"));
            }
            None => vec![single([("input", fields.string("input")?)])],
        };
        let version = u32::try_from(asked).unwrap_or_default();
        let make = |item: &TextItem| {
            let input =
                text(item, "input").ok_or_else(|| Refused::new("missing input for HMAC"))?;
            let sum = algorithm.hmac(secret.expose(), &decode_input(input)?)?;
            Ok(json!({ "hmac": ciphertext::print(version, &base64(&sum)) }))
        };
        respond(&items, is_batch, items.iter().map(make).collect(), &json!({}))
    }

    /// The part of `POST verify/<name>` that is about HMACs.
    pub(super) fn verify_hmacs(
        &self,
        key: &Key,
        algorithm: HashAlgorithm,
        items: &[TextItem],
        is_batch: bool,
    ) -> Reply {
        let check = |item: &TextItem| {
            let valid = verify_hmac(key, algorithm, item)?;
            // In a batch, what is false is left out.
            Ok(if valid || !is_batch { json!({ "valid": valid }) } else { json!({}) })
        };
        respond(items, is_batch, items.iter().map(check).collect(), &json!({}))
    }
}

fn verify_hmac(key: &Key, algorithm: HashAlgorithm, item: &TextItem) -> Result<bool, Refused> {
    let input = text(item, "input").ok_or_else(|| Refused::new("missing input"))?;
    let input = decode_input(input)?;
    let given = text(item, "hmac").ok_or_else(|| Refused::new("missing hmac"))?;
    let parsed = Versioned::parse(given).map_err(|error| {
        Refused::new(match error {
            ciphertext::VersionedError::NoPrefix => "invalid HMAC to verify: no prefix".to_owned(),
            other => format!("invalid HMAC: {other}"),
        })
    })?;
    let given = from_base64(parsed.payload).map_err(|error| {
        Refused::new(format!("unable to decode verification HMAC as base64: {error}"))
    })?;
    if parsed.version > i64::from(key.settings.latest_version) {
        return Err(Refused::new("invalid HMAC: version is too new"));
    }
    if parsed.version < i64::from(key.settings.min_decryption_version) {
        return Err(Refused::new("cannot verify HMAC: version is too old (disallowed by policy)"));
    }
    let sum = algorithm.hmac(hmac_key(key, parsed.version)?.expose(), &input)?;
    Ok(constant_time_eq(&sum, &given))
}

/// What version `number` makes HMACs with.
fn hmac_key(key: &Key, number: i64) -> Result<&SecretBytes, Refused> {
    key.check_usable()?;
    let latest = key.settings.latest_version;
    let number = match u32::try_from(number) {
        Ok(number) if number <= latest => number,
        Err(_) if number < 0 => {
            return Err(Refused::new("key version does not exist (cannot be negative)"));
        }
        _ => {
            return Err(Refused::new(format!(
                "key version does not exist; latest key version is {latest}"
            )));
        }
    };
    Ok(&key.version(number)?.hmac_key)
}

/// An `input` as it is sent.
pub(super) fn decode_input(text: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Refused> {
    from_base64(text)
        .map_err(|error| Refused::new(format!("unable to decode input as base64: {error}")))
}

/// The item of a request for one.
pub(super) fn single<const N: usize>(members: [(&str, Option<String>); N]) -> TextItem {
    let members = members.into_iter();
    members.map(|(name, text)| (name.to_owned(), Value::from(text.unwrap_or_default()))).collect()
}

/// The answer to a batch, or to one item.
pub(super) fn respond(
    items: &[TextItem],
    is_batch: bool,
    mut outcomes: Vec<Result<Value, Refused>>,
    missing: &Value,
) -> Reply {
    if !is_batch {
        return answer(outcomes.pop().unwrap_or_else(|| Err(Refused::new("no input")))?);
    }
    let references =
        items.iter().map(|item| text(item, "reference").unwrap_or_default().to_owned());
    let response: Response = batch::results(outcomes, references, missing);
    Ok(Some(response))
}
