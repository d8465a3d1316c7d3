//! Bringing in authorities that were made elsewhere.

use holdfast_keys::x509::{Certificate, PrivateKey, X509Error, decode_pem};
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::{Map, Value, json};

use super::Engine;
use super::keys::TOO_SHORT;
use super::root::NO_URLS;
use super::store::Change;

/// No more than this many blocks are read from one text.
const MOST_BLOCKS: usize = 256;

/// What a PEM text brings.
#[derive(Default)]
struct Bundle {
    keys: Vec<PrivateKey>,
    certificates: Vec<(Certificate, String)>,
}

fn parse(text: &str, keys_allowed: bool) -> Result<Bundle, Error> {
    let mut bundle = Bundle::default();
    let mut rest = text;
    let mut number = 0;
    let mut blocks = (Vec::new(), Vec::new());
    while !rest.trim().is_empty() {
        number += 1;
        let Some((block, after)) = decode_pem(rest).filter(|_| number <= MOST_BLOCKS) else {
            return Err(Error::invalid(format!(
                "error when parsing block {number}: invalid PEM data"
            )));
        };
        rest = after;
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => blocks.0.push(block),
            "CRL" | "X509 CRL" | "EC PARAMS" | "EC PARAMETERS" => {}
            _ => blocks.1.push(block),
        }
    }
    let (certificates, keys) = blocks;
    if !keys.is_empty() && !keys_allowed {
        return Err(Error::invalid(
            "private keys found in the PEM bundle but not allowed by the path; use \
             /issuers/import/bundle",
        ));
    }
    for (index, block) in keys.iter().enumerate() {
        let key = PrivateKey::from_der(&block.der).map_err(|_| {
            Error::invalid(format!(
                "Error parsing key {index}: failed to parse provided DER key: unknown private key \
                 type"
            ))
        })?;
        bundle.keys.push(key);
    }
    for (index, block) in certificates.iter().enumerate() {
        let pem = holdfast_keys::x509::encode_pem(&block.label, &block.der).to_string();
        let certificate = Certificate::from_der(&block.der)
            .map_err(|error| not_an_issuer(index, &malformed(&error), &pem))?;
        bundle.certificates.push((certificate, pem));
    }
    Ok(bundle)
}

fn not_an_issuer(index: usize, problem: &str, pem: &str) -> Error {
    Error::invalid(format!("Error parsing issuer {index}: {problem}\n{pem}"))
}

/// What Go says of a certificate that does not parse; of the rest we say our own.
fn malformed(error: &X509Error) -> String {
    match error {
        X509Error::Malformed(_) => "x509: malformed certificate".to_owned(),
        error => error.to_string(),
    }
}

impl Engine {
    /// Takes in what is in the field of that name.
    pub(super) async fn import(
        &self,
        field: &'static str,
        keys_allowed: bool,
        request: &Request,
    ) -> Reply {
        let text = request.fields().string(field)?.unwrap_or_default();
        if text.is_empty() {
            return Err(Error::invalid("'pem_bundle' and 'certificate' parameters were empty"));
        }
        if text.len() < 75 {
            return Err(Error::invalid(TOO_SHORT));
        }
        let bundle = parse(&text, keys_allowed)?;
        let mut change = self.store.change().await?;
        let brought = bring(&mut change, bundle)?;
        let warnings = choose_default(&mut change, &brought)?;
        change.commit().await?;

        let list = |ids: &[String]| if ids.is_empty() { Value::Null } else { json!(ids) };
        let mut response = Response::data(json!({
            "mapping": brought.mapping,
            "imported_keys": list(&brought.new_keys),
            "imported_issuers": list(&brought.new_issuers),
            "existing_keys": list(&brought.old_keys),
            "existing_issuers": list(&brought.old_issuers),
        }));
        response.warnings = warnings;
        if self.urls().await?.is_empty() {
            response = response.warn(NO_URLS);
        }
        if !brought.new_issuers.is_empty() {
            for (index, warning) in self.rebuild_lists(true).await?.iter().enumerate() {
                response =
                    response.warn(format!("Warning {} during CRL rebuild: {warning}", index + 1));
            }
        }
        Ok(Some(response))
    }
}

/// The ids of what a bundle brought.
#[derive(Default)]
struct Brought {
    new_keys: Vec<String>,
    old_keys: Vec<String>,
    new_issuers: Vec<String>,
    old_issuers: Vec<String>,
    /// Issuers and their keys.
    mapping: Map<String, Value>,
}

fn bring(change: &mut Change<'_>, bundle: Bundle) -> Result<Brought, Error> {
    let mut brought = Brought::default();
    for pair in bundle.keys {
        let (key, existed) = change.add_key(pair, "")?;
        let ids = if existed { &mut brought.old_keys } else { &mut brought.new_keys };
        ids.push(key.entry.id.clone());
    }
    for (index, (certificate, pem)) in bundle.certificates.into_iter().enumerate() {
        let (issuer, existed) =
            change.add_issuer(certificate, "").map_err(|error| match error {
                Error::Invalid(problem) => not_an_issuer(index, &problem, &pem),
                error => error,
            })?;
        let ids = if existed { &mut brought.old_issuers } else { &mut brought.new_issuers };
        ids.push(issuer.entry.id.clone());
        brought.mapping.insert(issuer.entry.id.clone(), json!(issuer.entry.key_id));
    }
    Ok(brought)
}

/// Makes the new issuer the default where the mount follows the latest, and warns of a default
/// that is of no use.
fn choose_default(change: &mut Change<'_>, brought: &Brought) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    let has_key = |id: &&String| brought.mapping.get(*id).is_some_and(|key| *key != "");
    let with_keys: Vec<_> = brought.new_issuers.iter().filter(has_key).collect();
    if change.authorities.config.default_follows_latest_issuer {
        match with_keys.as_slice() {
            [] => {}
            [id] => change.set_default_issuer(id)?,
            _ => warnings.push(
                "Default issuer left unchanged: could not select new issuer automatically as \
                 multiple imported issuers had key material in Vault."
                    .to_owned(),
            ),
        }
    }
    let default = &change.authorities.config.default;
    if default.is_empty() {
        return Ok(warnings);
    }
    if brought.mapping.get(default).is_some_and(|key| *key == "") {
        warnings.push(
            "The default issuer has no key associated with it. Some operations like issuing \
             certificates and signing CRLs will be unavailable with the requested default issuer \
             until a key is imported or the default issuer is changed."
                .to_owned(),
        );
    }
    if with_keys.len() > 1 && brought.new_issuers.contains(default) {
        warnings.push(
            "The imported bundle contained multiple certs matching keys, the default issuer that \
             was selected should be verified and manually changed if incorrect."
                .to_owned(),
        );
    }
    Ok(warnings)
}
