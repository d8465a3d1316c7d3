//! The authorities' keys.

use holdfast_keys::x509::{PrivateKey, decode_pem, encode_pem};
use holdfast_logical::{Error, Fields, Reply, Request, Response};
use serde_json::{Map, Value, json};

use super::Engine;
use super::error::fault;
use super::generate::{checked_bits, key_algorithm};
use super::issuers::page;
use super::route::is_name;
use super::serial::hexadecimal;
use super::store::{Authorities, DEFAULT, Key};

/// Whether a key that is made is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySource {
    /// It stays here.
    Internal,
    /// It is given out, once.
    Exported,
    /// It is one that was here before.
    Existing,
    /// It is in a key management service, which we do not speak to.
    Kms,
}

impl KeySource {
    /// As it stands in a path.
    pub(super) fn parse(text: &str, fields: Fields<'_>) -> Result<Self, Error> {
        let exported = match text {
            "internal" => Self::Internal,
            "exported" => Self::Exported,
            "existing" => Self::Existing,
            "kms" => Self::Kms,
            _ => {
                return Err(Error::invalid(
                    "the \"exported\" path parameter must be \"internal\", \"existing\", \
                     exported\" or \"kms\"",
                ));
            }
        };
        let external = fields.string("external_key_ref")?.unwrap_or_default();
        match (exported, external.trim().is_empty()) {
            (Self::Kms, true) => Err(Error::invalid(
                "must specify \"external_key_ref\" on \"kms\"-typed generation requests",
            )),
            (Self::Kms, false) => Err(Error::invalid("external keys are not supported")),
            (_, false) => Err(Error::invalid(format!(
                "cannot specify \"external_key_ref\" on {text:?}-typed generation requests"
            ))),
            (_, true) => Ok(exported),
        }
    }
}

/// The name that a request gives to a key.
pub(super) fn key_name(authorities: &Authorities, fields: Fields<'_>) -> Result<String, Error> {
    let Some(name) = fields.string("key_name")? else { return Ok(String::new()) };
    let name = name.trim();
    if name.eq_ignore_ascii_case(DEFAULT) {
        return Err(Error::invalid("reserved keyword 'default' can not be used as key name"));
    }
    if !is_name(name) {
        return Err(Error::invalid("key name contained invalid characters"));
    }
    if authorities.key(name).is_ok() {
        return Err(Error::invalid("key name already in use"));
    }
    Ok(name.to_owned())
}

fn key_response(key: &Key) -> Map<String, Value> {
    Map::from_iter([
        ("key_id".to_owned(), json!(key.entry.id)),
        ("key_name".to_owned(), json!(key.entry.name)),
        ("key_type".to_owned(), json!(key.pair.algorithm().as_str())),
    ])
}

/// The only key of a PEM text.
fn single_key(text: &str) -> Result<PrivateKey, Error> {
    if text.len() < 64 {
        return Err(Error::invalid(TOO_SHORT));
    }
    let mut keys = Vec::new();
    let mut rest = text;
    let mut number = 0;
    while !rest.trim().is_empty() {
        number += 1;
        let Some((block, after)) = decode_pem(rest) else {
            return Err(Error::invalid(format!(
                "error when parsing block {number}: invalid PEM data"
            )));
        };
        keys.push(encode_pem(&block.label, &block.der));
        rest = after;
    }
    match keys.as_slice() {
        [key] => PrivateKey::from_pem(key).map_err(unknown_key),
        _ => Err(Error::invalid(
            "only a single key can be present within the pem_bundle for importing",
        )),
    }
}

/// What is said of bytes that are no key.
pub(super) fn unknown_key(_: holdfast_keys::x509::X509Error) -> Error {
    Error::invalid("failed to parse provided DER key: unknown private key type")
}

pub(super) const TOO_SHORT: &str = "provided data for import was too short; perhaps a path was \
                                    passed to the API rather than the contents of a PEM file";

impl Engine {
    pub(super) async fn list_keys(&self, request: &Request) -> Reply {
        let authorities = self.store.authorities().await?;
        let ids = page(authorities.keys.keys(), request)?;
        let mut info = Map::new();
        for id in &ids {
            let Some(key) = authorities.keys.get(id) else { continue };
            let is_default = authorities.default_key == *id;
            info.insert(
                id.clone(),
                json!({ "key_name": key.entry.name, "is_default": is_default }),
            );
        }
        Ok(super::issuers::list_with_info(ids, info))
    }

    pub(super) async fn read_key(&self, reference: &str) -> Reply {
        let authorities = self.store.authorities().await?;
        let key = authorities.key(super::route::reference(reference)).map_err(fault)?;
        let mut data = key_response(key);
        let id = hexadecimal(&key.pair.public_key().key_id(), ":");
        data.insert("subject_key_id".to_owned(), json!(id));
        Ok(Some(Response::data(data.into())))
    }

    pub(super) async fn rename_key(&self, reference: &str, request: &Request) -> Reply {
        let mut change = self.store.change().await?;
        let key = change.authorities.key(super::route::reference(reference)).map_err(fault)?;
        let mut key = key.clone();
        let name = request.fields().string("key_name")?.unwrap_or_default();
        if !name.is_empty() && !is_name(&name) {
            return Err(Error::invalid("new key name outside of valid character limits"));
        }
        if name != key.entry.name {
            key = change.rename_key(&key, &name)?;
            change.commit().await?;
        }
        let response = Response::data(key_response(&key).into());
        if !name.is_empty() {
            return Ok(Some(response));
        }
        Ok(Some(response.warn(format!(
            "Name successfully deleted, you will now need to reference this key by it's Id: {}",
            key.entry.id
        ))))
    }

    pub(super) async fn delete_key(&self, reference: &str) -> Reply {
        let mut change = self.store.change().await?;
        let Ok(key) = change.authorities.key(super::route::reference(reference)) else {
            return Ok(None);
        };
        let id = key.entry.id.clone();
        let user = change.authorities.issuers.values().find(|issuer| issuer.entry.key_id == id);
        if let Some(issuer) = user {
            let issuer = &issuer.entry.id;
            return Err(Error::invalid(format!(
                "Failed to Delete Key.  Key in Use by Issuer: {issuer}"
            )));
        }
        let was_default = change.remove_key(&id)?;
        change.commit().await?;
        if !was_default {
            return Ok(None);
        }
        Ok(Some(Response::default().warn(format!(
            "Deleted key {id} (via key_ref {reference}); this was configured as the default key. \
             Operations without an explicit key will not work until a new default is configured."
        ))))
    }

    pub(super) async fn generate_key(&self, exported: KeySource, request: &Request) -> Reply {
        let fields = request.fields();
        let authorities = self.store.authorities().await?;
        let name = key_name(&authorities, fields)?;
        let external = fields.string("external_key_ref")?.unwrap_or_default();
        match (exported, external.is_empty()) {
            (KeySource::Kms, true) => {
                return Err(Error::invalid(
                    "\"external_key_ref\" is required for kms typed key generation",
                ));
            }
            (KeySource::Kms, false) => {
                return Err(Error::invalid("external keys are not supported"));
            }
            (_, false) => {
                return Err(Error::invalid(
                    "cannot specify \"external_key_ref\" on non-kms typed key generation request",
                ));
            }
            (_, true) => {}
        }
        let kind = fields.string("key_type")?.unwrap_or_else(|| "rsa".to_owned());
        let bits = fields.integer("key_bits")?.unwrap_or_default();
        checked_bits(&kind, bits).map_err(|problem| {
            Error::invalid(format!("Validation for key_type, key_bits failed: {problem}"))
        })?;
        let pair = self.generator.generate(key_algorithm(&kind, bits)?).await?;
        let mut change = self.store.change().await?;
        let (key, _) = change.add_key(pair, &name)?;
        change.commit().await?;
        let mut data = key_response(&key);
        if exported == KeySource::Exported {
            data.insert("private_key".to_owned(), key.pair.to_pem().expose().clone().into());
        }
        Ok(Some(Response::data(data.into())))
    }

    pub(super) async fn import_key(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let mut change = self.store.change().await?;
        let name = key_name(&change.authorities, fields)?;
        let pair = single_key(&fields.string("pem_bundle")?.unwrap_or_default())?;
        let (key, existed) = change.add_key(pair, &name)?;
        change.commit().await?;
        let response = Response::data(key_response(&key).into());
        if !existed {
            return Ok(Some(response));
        }
        Ok(Some(response.warn("Key already imported, use key/ endpoint to update name.")))
    }

    pub(super) async fn read_keys_config(&self) -> Reply {
        let default = &self.store.authorities().await?.default_key;
        Ok(Some(Response::data(json!({ "default": default }))))
    }

    pub(super) async fn write_keys_config(&self, request: &Request) -> Reply {
        let wanted = request.fields().string("default")?.unwrap_or_default();
        if wanted.is_empty() || wanted == DEFAULT {
            return Err(Error::invalid(
                "Invalid key specification; must be non-empty and can't be 'default'.",
            ));
        }
        let mut change = self.store.change().await?;
        let key = change.authorities.key(&wanted).map_err(|error| {
            Error::invalid(format!("Error resolving issuer reference: {error}"))
        })?;
        let id = key.entry.id.clone();
        change.set_default_key(&id)?;
        change.commit().await?;
        Ok(Some(Response::data(json!({ "default": id }))))
    }
}
