//! `encrypt/<name>`, `decrypt/<name>` and `rewrap/<name>`.

use std::sync::Arc;

use holdfast_logical::{Error, Operation, Reply, Request, Response};
use holdfast_types::Random;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::batch::{self, CipherItem};
use super::ciphertext::{self, Versioned};
use super::encoding::{base64, from_base64};
use super::key::{Key, Purpose, Settings};
use super::key_type::KeyType;
use super::material::Material;
use super::refused::Refused;
use super::{Transit, compute};

/// From so many items, or so many bytes of input, on, a request is worked on where it holds up
/// nobody.
const MANY: usize = 64;
const MUCH: usize = 256 * 1024;

/// One request's items, and whether they came as a batch.
struct Items {
    items: Vec<CipherItem>,
    is_batch: bool,
}

impl Transit {
    /// `POST encrypt/<name>`: makes the key where it is missing and the caller may create it.
    pub(super) async fn encrypt(&self, request: &Request, name: &str) -> Reply {
        let input = Items::read(request, "plaintext")?.with_version(request)?;
        let has_context = input.check_contexts()?;
        let key = match request.operation {
            Operation::Create => self.upserted(request, name, has_context).await?,
            _ => self.existing(name, "encryption key not found").await?,
        };
        let random = Arc::clone(&self.random);
        let outcomes = input.work(&key, move |key, index, item| {
            let sealed = encrypt_item(key, index, item, &*random)?;
            Ok(json!({ "ciphertext": sealed.text, "key_version": sealed.version }))
        });
        respond(request, &input, outcomes.await?, &json!({}), true)
    }

    /// `POST decrypt/<name>`
    pub(super) async fn decrypt(&self, request: &Request, name: &str) -> Reply {
        let input = Items::read(request, "ciphertext")?;
        input.check_contexts()?;
        let key = self.existing(name, "encryption key not found").await?;
        let outcomes = input.work(&key, |key, index, item| {
            let plaintext = decrypt_item(key, index, item)?;
            Ok(json!({ "plaintext": base64(&plaintext) }))
        });
        respond(request, &input, outcomes.await?, &json!({ "plaintext": "" }), true)
    }

    /// `POST rewrap/<name>`: decrypts and encrypts again, and shows the plaintext to nobody.
    pub(super) async fn rewrap(&self, request: &Request, name: &str) -> Reply {
        let input = Items::read_rewrap(request)?;
        input.check_contexts()?;
        let key = self.existing(name, "encryption key not found").await?;
        let random = Arc::clone(&self.random);
        let outcomes = input.work(&key, move |key, _, item| {
            if item.input.is_empty() {
                return Err(Refused::new("missing ciphertext to decrypt"));
            }
            let context = from_base64(&item.context)?;
            let plaintext = open(key, &item.input, &context, &[])?;
            let sealed = seal(key, item.key_version, &plaintext, &context, &[], &*random)?;
            Ok(json!({ "ciphertext": sealed.text, "key_version": sealed.version }))
        });
        respond(request, &input, outcomes.await?, &json!({}), false)
    }

    /// The key to encrypt with, made now where it is missing.
    async fn upserted(
        &self,
        request: &Request,
        name: &str,
        has_context: bool,
    ) -> Result<Arc<Key>, Error> {
        let fields = request.fields();
        let convergent = fields.bool("convergent_encryption")?.unwrap_or_default();
        if convergent && !has_context {
            return Err(Error::invalid(
                "convergent encryption requires derivation to be enabled, so context is required",
            ));
        }
        let kind = fields.string("type")?;
        let kind =
            kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "aes256-gcm96".to_owned());
        let kind = match KeyType::parse(&kind)? {
            Some(kind) if kind.is_aead() => kind,
            Some(kind) if kind.is_ecdsa() => {
                return Err(Error::invalid(format!(
                    "key type {kind} not supported for this operation"
                )));
            }
            _ => return Err(Error::invalid(format!("unknown key type {kind}"))),
        };
        if !self.config.upserts() {
            return self.existing(name, "encryption key not found").await;
        }
        let settings =
            Settings { derived: has_context, convergent, ..Settings::new(kind, self.clock.now()) };
        self.make(name, settings).await
    }
}

impl Items {
    fn read(request: &Request, input: &'static str) -> Result<Self, Error> {
        let items = batch::items(request, |value| batch::read_cipher_items(value, input))?;
        let mut input = Self::or_single(request, items, input)?;
        if let (false, [item]) = (input.is_batch, &mut input.items[..]) {
            let associated_data = request.fields().string("associated_data")?;
            item.associated_data = associated_data.unwrap_or_default();
        }
        Ok(input)
    }

    fn read_rewrap(request: &Request) -> Result<Self, Error> {
        let items = batch::items(request, batch::read_rewrap_items)?;
        Self::or_single(request, items, "ciphertext")?.with_version(request)
    }

    /// With the version to encrypt with, which a batch says for each item.
    fn with_version(mut self, request: &Request) -> Result<Self, Error> {
        if let (false, [item]) = (self.is_batch, &mut self.items[..]) {
            item.key_version = request.fields().integer("key_version")?.unwrap_or_default();
        }
        Ok(self)
    }

    fn or_single(
        request: &Request,
        items: Option<Vec<CipherItem>>,
        input: &'static str,
    ) -> Result<Self, Error> {
        if let Some(items) = items {
            return Ok(Self { items, is_batch: true });
        }
        let fields = request.fields();
        let text = |name| Ok::<_, Error>(fields.string(name)?.unwrap_or_default());
        // An empty plaintext is one, and so is null; an empty ciphertext is none.
        let value = text(input)?;
        match input {
            "plaintext" if !request.data.contains_key(input) => {
                return Err(Error::invalid("missing plaintext to encrypt"));
            }
            "ciphertext" if value.is_empty() => {
                return Err(Error::invalid("missing ciphertext to decrypt"));
            }
            _ => {}
        }
        let item = CipherItem { input: value, context: text("context")?, ..CipherItem::default() };
        Ok(Self { items: vec![item], is_batch: false })
    }

    /// Whether there is a context: in all items, or in none.
    fn check_contexts(&self) -> Result<bool, Error> {
        let has_context = |item: &CipherItem| !item.context.is_empty();
        let first = self.items.first().is_some_and(has_context);
        if self.items.iter().any(|item| has_context(item) != first) {
            return Err(Error::invalid(
                "context should be set either in all the request blocks or in none",
            ));
        }
        Ok(first)
    }

    /// Does `each` for every item. Few bytes are done with sooner than another thread takes them;
    /// RSA and much of anything is done by another.
    async fn work(
        &self,
        key: &Arc<Key>,
        each: impl Fn(&Key, usize, &CipherItem) -> Result<Value, Refused> + Send + 'static,
    ) -> Result<Vec<Result<Value, Refused>>, Error> {
        let all = move |key: &Key, items: &[CipherItem]| -> Vec<_> {
            items.iter().enumerate().map(|(index, item)| each(key, index, item)).collect()
        };
        let bytes: usize = self.items.iter().map(|item| item.input.len()).sum();
        if key.settings.kind.is_rsa() || self.items.len() >= MANY || bytes >= MUCH {
            let (key, items) = (Arc::clone(key), self.items.clone());
            return compute(move || all(&key, &items)).await;
        }
        Ok(all(key, &self.items))
    }
}

/// A ciphertext and the version that made it.
pub(super) struct Sealed {
    pub(super) text: String,
    pub(super) version: u32,
}

fn encrypt_item(
    key: &Key,
    index: usize,
    item: &CipherItem,
    random: &dyn Random,
) -> Result<Sealed, Refused> {
    let plaintext = from_base64(&item.input)?;
    let context = from_base64(&item.context)?;
    let associated_data = associated_data(key, index, item)?;
    seal(key, item.key_version, &plaintext, &context, &associated_data, random)
}

fn decrypt_item(key: &Key, index: usize, item: &CipherItem) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if item.input.is_empty() {
        return Err(Refused::new("missing ciphertext to decrypt"));
    }
    let context = from_base64(&item.context)?;
    let associated_data = associated_data(key, index, item)?;
    open(key, &item.input, &context, &associated_data)
}

fn associated_data(
    key: &Key,
    index: usize,
    item: &CipherItem,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let kind = key.settings.kind;
    if !item.associated_data.is_empty() && !kind.is_aead() {
        return Err(Refused::new(format!(
            "'[{index}].associated_data' provided for non-AEAD cipher suite {kind}"
        )));
    }
    decode_associated_data(&item.associated_data)
}

/// Associated data as it is sent.
pub(super) fn decode_associated_data(text: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    from_base64(text).map_err(|error| {
        Refused::new(format!(
            "unable to get associated_data/additional_data from factory[0]: {error}"
        ))
    })
}

/// Encrypts with the version that is asked for, or the newest for 0.
pub(super) fn seal(
    key: &Key,
    version: i64,
    plaintext: &[u8],
    context: &[u8],
    associated_data: &[u8],
    random: &dyn Random,
) -> Result<Sealed, Refused> {
    key.check_usable()?;
    if !key.settings.kind.encrypts() {
        let kind = key.settings.kind;
        return Err(Refused::new(format!("message encryption not supported for key type {kind}")));
    }
    let (number, version) = key.version_for(version, Purpose::Encryption)?;
    let sealed = match &*version.material {
        Material::Symmetric(cipher) => {
            cipher.seal(plaintext, key.mode(context, associated_data), random)?
        }
        Material::Rsa(pair) => pair.encrypt(plaintext)?,
        _ => return Err(Refused::new("unsupported key type")),
    };
    Ok(Sealed { text: ciphertext::print(number, &base64(&sealed)), version: number })
}

/// Decrypts with the version that the ciphertext names.
fn open(
    key: &Key,
    text: &str,
    context: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    key.check_usable()?;
    if !key.settings.kind.encrypts() {
        let kind = key.settings.kind;
        return Err(Refused::new(format!("message decryption not supported for key type {kind}")));
    }
    let parsed = Versioned::parse(text)
        .map_err(|error| Refused::new(format!("invalid ciphertext: {error}")))?;
    // The first keys of Vault had versions from 0 on.
    let number = if parsed.version == 0 { 1 } else { parsed.version };
    let (_, version) = key.version_of(number, "ciphertext")?;
    let sealed = from_base64(parsed.payload)
        .map_err(|_| Refused::new("invalid ciphertext: could not decode base64"))?;
    match &*version.material {
        Material::Symmetric(cipher) => cipher.open(&sealed, key.mode(context, associated_data)),
        Material::Rsa(pair) => pair.decrypt(&sealed),
        _ => Err(Refused::new("unsupported key type")),
    }
}

/// The answer to a batch, or to one item. `strict`: a refused item makes the whole a 400.
fn respond(
    request: &Request,
    input: &Items,
    mut outcomes: Vec<Result<Value, Refused>>,
    missing: &Value,
    strict: bool,
) -> Reply {
    if !input.is_batch {
        let outcome = outcomes.pop().unwrap_or_else(|| Err(Refused::new("no input")));
        return Ok(Some(Response::data(outcome?)));
    }
    let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let references = input.items.iter().map(|item| item.reference.clone());
    let response = batch::results(outcomes, references, missing);
    if !strict {
        return Ok(Some(response));
    }
    batch::with_status(response, request, refused, input.items.len()).map(Some)
}
