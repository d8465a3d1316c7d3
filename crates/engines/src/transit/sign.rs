//! `sign/<name>` and `verify/<name>`.

use std::sync::Arc;

use holdfast_logical::{Error, Reply, Request};
use serde_json::{Value, json};

use super::batch::{self, TextItem, text};
use super::ciphertext::{self, Versioned};
use super::ecdsa;
use super::encoding::{atoi, base64, base64_url, from_base64, from_base64_url};
use super::hash_algorithm::HashAlgorithm;
use super::hmac::{decode_input, respond, single};
use super::key::{Key, Purpose};
use super::key_type::KeyType;
use super::material::Material;
use super::refused::Refused;
use super::route::Route;
use super::rsa::{Padding, SaltLength};
use super::{Transit, compute};

/// From so many items on, a batch is worked on where it holds up nobody; RSA always is.
const MANY: usize = 16;

/// How signatures are made and checked: what a request says for all its items.
#[derive(Debug, Clone)]
struct Scheme {
    hash: HashAlgorithm,
    /// The input is a hash already.
    prehashed: bool,
    marshaling: Marshaling,
    /// `pss`, `pkcs1v15`, or what no key knows: only RSA looks at it.
    signature_algorithm: String,
    salt_length: SaltLength,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marshaling {
    /// As X.509 has it, in padded base64.
    Asn1,
    /// As JWS has it, in base64 for URLs.
    Jws,
}

impl Transit {
    /// `POST sign/<name>[/<hash algorithm>]`
    pub(super) async fn sign(&self, request: &Request, route: &Route<'_>) -> Reply {
        let fields = request.fields();
        let version = fields.integer("key_version")?.unwrap_or_default();
        let scheme = Scheme::read(request, route)?;
        let key = self.existing(route.name, "signing key not found").await?;
        scheme.check(&key, "signing")?;
        let items = batch::items(request, |value| batch::read_text_items(value, "Sign"))?;
        let is_batch = items.is_some();
        let items = match items {
            Some(items) => items,
            None => vec![single([
                ("input", fields.string("input")?),
                ("context", fields.string("context")?),
            ])],
        };
        let outcomes = work(&key, &items, move |key, item| {
            let (mut signed, public_key) = sign_item(key, version, &scheme, item)?;
            if let Some(public_key) = public_key {
                // In a batch it goes by another name.
                signed[if is_batch { "publickey" } else { "public_key" }] = public_key.into();
            }
            Ok(signed)
        });
        respond(&items, is_batch, outcomes.await?, &json!({ "key_version": 0 }))
    }

    /// `POST verify/<name>[/<hash algorithm>]`: signatures, or HMACs.
    pub(super) async fn verify(&self, request: &Request, route: &Route<'_>) -> Reply {
        let fields = request.fields();
        let items = batch::items(request, |value| batch::read_text_items(value, "Verify"))?;
        let is_batch = items.is_some();
        let items = match items {
            Some(items) => items,
            None => {
                let mut item = single([
                    ("input", fields.string("input")?),
                    ("context", fields.string("context")?),
                ]);
                for name in ["signature", "hmac"] {
                    if request.data.contains_key(name) {
                        item.extend(single([(name, fields.string(name)?)]));
                    }
                }
                vec![item]
            }
        };
        if verifies_hmacs(&items, is_batch)? {
            let key = self.existing(route.name, "encryption key not found").await?;
            let algorithm = hash_algorithm(request, route)?;
            return self.verify_hmacs(&key, algorithm, &items, is_batch);
        }
        let scheme = Scheme::read(request, route)?;
        let key = self.existing(route.name, "signature verification key not found").await?;
        scheme.check(&key, "verification")?;
        let outcomes = work(&key, &items, move |key, item| {
            Ok(json!({ "valid": verify_item(key, &scheme, item)? }))
        });
        respond(&items, is_batch, outcomes.await?, &json!({ "valid": false }))
    }
}

/// Does `each` for every item, and what takes long where it holds up nobody.
async fn work(
    key: &Arc<Key>,
    items: &[TextItem],
    each: impl Fn(&Key, &TextItem) -> Result<Value, Refused> + Send + 'static,
) -> Result<Vec<Result<Value, Refused>>, Error> {
    if key.settings.kind.is_rsa() || items.len() >= MANY {
        let (key, items) = (Arc::clone(key), items.to_vec());
        return compute(move || items.iter().map(|item| each(&key, item)).collect()).await;
    }
    Ok(items.iter().map(|item| each(key, item)).collect())
}

/// Whether it is HMACs that are to be verified: all of them, or none.
fn verifies_hmacs(items: &[TextItem], is_batch: bool) -> Result<bool, Error> {
    let has = |item: &TextItem, name: &str| item.contains_key(name);
    let signatures = items.iter().any(|item| has(item, "signature"));
    let only_hmac = |item: &TextItem| !has(item, "signature") && has(item, "hmac");
    let hmacs = items.iter().any(only_hmac);
    let missing = items.iter().any(|item| !has(item, "signature") && !has(item, "hmac"));
    let refuse = |why| Err(Error::invalid(why));
    if !is_batch && !signatures && !hmacs {
        return refuse("neither a 'signature' nor an 'hmac' were given to verify");
    }
    if signatures && hmacs {
        return refuse(
            "elements of batch_input must all provide 'signature' or all provide 'hmac'",
        );
    }
    match (missing, signatures, hmacs) {
        (true, true, _) => refuse("some elements of batch_input are missing 'signature'"),
        (true, _, true) => refuse("some elements of batch_input are missing 'hmac'"),
        (true, ..) => refuse("no batch_input elements have 'signature' or 'hmac'"),
        _ => Ok(hmacs),
    }
}

/// The hash algorithm: of the path, or of either field.
fn hash_algorithm(request: &Request, route: &Route<'_>) -> Result<HashAlgorithm, Error> {
    let fields = request.fields();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let name = match route.after {
        "" => given(fields.string("hash_algorithm")?)
            .or(given(fields.string("algorithm")?))
            .unwrap_or_else(|| "sha2-256".to_owned()),
        name => name.to_owned(),
    };
    HashAlgorithm::parse(&name)?
        .ok_or_else(|| Error::invalid(format!("invalid hash algorithm {name:?}")))
}

impl Scheme {
    fn read(request: &Request, route: &Route<'_>) -> Result<Self, Error> {
        let fields = request.fields();
        let hash = hash_algorithm(request, route)?;
        let marshaling = match fields.string("marshaling_algorithm")?.as_deref() {
            None | Some("asn1") => Marshaling::Asn1,
            Some("jws") => Marshaling::Jws,
            Some(other) => {
                return Err(Error::invalid(format!("invalid marshaling type {other:?}")));
            }
        };
        Ok(Self {
            hash,
            marshaling,
            prehashed: fields.bool("prehashed")?.unwrap_or_default(),
            signature_algorithm: fields.string("signature_algorithm")?.unwrap_or_default(),
            salt_length: salt_length(fields.string("salt_length")?.as_deref())?,
        })
    }

    fn check(&self, key: &Key, what: &str) -> Result<(), Error> {
        if !key.settings.kind.signs() {
            let kind = key.settings.kind;
            return Err(Error::invalid(format!("key type {kind} does not support {what}")));
        }
        let is_bare = self.prehashed && self.signature_algorithm == "pkcs1v15";
        if self.hash == HashAlgorithm::None && !is_bare {
            return Err(Error::invalid(
                "hash_algorithm=none requires both prehashed=true and \
                 signature_algorithm=pkcs1v15",
            ));
        }
        Ok(())
    }

    /// What is signed: the input or its hash. Ed25519 hashes by itself.
    fn digest(&self, kind: KeyType, input: &[u8]) -> Vec<u8> {
        match kind {
            KeyType::Ed25519 => input.to_vec(),
            _ if self.prehashed => input.to_vec(),
            _ => self.hash.hash(input),
        }
    }

    fn padding(&self) -> Result<Padding, Refused> {
        match self.signature_algorithm.as_str() {
            "" | "pss" => Ok(Padding::Pss(self.salt_length)),
            "pkcs1v15" => Ok(Padding::Pkcs1v15),
            other => Err(Refused::new(format!("unsupported rsa signature algorithm {other}"))),
        }
    }
}

/// `auto`, `hash`, or a number of bytes, of which 0 means `auto` and -1 `hash`.
fn salt_length(text: Option<&str>) -> Result<SaltLength, Error> {
    let Some(text) = text else { return Ok(SaltLength::Auto) };
    match text.to_lowercase().as_str() {
        "auto" => Ok(SaltLength::Auto),
        "hash" => Ok(SaltLength::Hash),
        number => match atoi(number) {
            None => Err(Error::invalid(format!(
                "salt length neither 'auto', 'hash', nor an int: {text}"
            ))),
            Some(0) => Ok(SaltLength::Auto),
            Some(-1) => Ok(SaltLength::Hash),
            Some(length) => match usize::try_from(length) {
                Ok(length) => Ok(SaltLength::Bytes(length)),
                Err(_) => Err(Error::invalid(format!("salt length is invalid: {length}"))),
            },
        },
    }
}

/// A signature; and the public key, in base64, where it was derived.
fn sign_item(
    key: &Key,
    version: i64,
    scheme: &Scheme,
    item: &TextItem,
) -> Result<(Value, Option<String>), Refused> {
    let (input, context) = read_item(item)?;
    key.check_usable()?;
    let (number, version) = key.version_for(version, Purpose::Signing)?;
    let digest = scheme.digest(key.settings.kind, &input);
    let mut public_key = None;
    let signature = match &*version.material {
        Material::Ed25519(pair) if key.settings.derived => {
            let derived = pair.derive(&context).map_err(|error| deriving(&error))?;
            public_key = Some(base64(derived.public()));
            derived.sign(&digest)?
        }
        Material::Ed25519(pair) => pair.sign(&digest)?,
        Material::Ecdsa(pair) => {
            let fixed = pair.sign(&digest)?;
            if scheme.marshaling == Marshaling::Asn1 { ecdsa::to_asn1(&fixed) } else { fixed }
        }
        Material::Rsa(pair) => pair.sign(scheme.hash, &digest, scheme.padding()?)?,
        _ => return Err(Refused::new("unsupported key type")),
    };
    let encoded = match scheme.marshaling {
        Marshaling::Asn1 => base64(&signature),
        Marshaling::Jws => base64_url(&signature),
    };
    let signature = ciphertext::print(number, &encoded);
    Ok((json!({ "signature": signature, "key_version": number }), public_key))
}

fn verify_item(key: &Key, scheme: &Scheme, item: &TextItem) -> Result<bool, Refused> {
    let (input, context) = read_item(item)?;
    let signature = text(item, "signature").ok_or_else(|| Refused::new("missing signature"))?;
    key.check_usable()?;
    let parsed = Versioned::parse(signature)
        .map_err(|error| Refused::new(format!("invalid signature: {error}")))?;
    let (_, version) = key.version_of(parsed.version, "signature")?;
    let signature = match scheme.marshaling {
        Marshaling::Asn1 => from_base64(parsed.payload),
        Marshaling::Jws => from_base64_url(parsed.payload),
    };
    let signature = signature.map_err(|_| Refused::new("invalid base64 signature value"))?;
    let digest = scheme.digest(key.settings.kind, &input);
    match &*version.material {
        Material::Ed25519(pair) if key.settings.derived => {
            Ok(pair.derive(&context).map_err(|error| deriving(&error))?.verify(&digest, &signature))
        }
        Material::Ed25519(pair) => Ok(pair.verify(&digest, &signature)),
        Material::Ecdsa(pair) => {
            let (r, s) = match scheme.marshaling {
                Marshaling::Asn1 => ecdsa::from_asn1(&signature)?,
                Marshaling::Jws => signature.split_at(signature.len() / 2),
            };
            pair.verify(&digest, r, s)
        }
        Material::Rsa(pair) => pair.verify(scheme.hash, &digest, scheme.padding()?, &signature),
        _ => Err(Refused::new("unsupported key type")),
    }
}

/// An item's input and context.
fn read_item(item: &TextItem) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let input = text(item, "input").ok_or_else(|| Refused::new("missing input"))?;
    let input = decode_input(input)?;
    let context = from_base64(text(item, "context").unwrap_or_default())
        .map_err(|_| Refused::new("failed to base64-decode context"))?;
    Ok((input.to_vec(), context.to_vec()))
}

fn deriving(error: &Refused) -> Refused {
    Refused::new(format!("error deriving key: {error}"))
}
