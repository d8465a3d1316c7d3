//! `datakey/<plaintext or wrapped>/<name>`: a new key, encrypted with the named one.

use holdfast_logical::{Error, Reply, Request};
use serde_json::json;
use zeroize::Zeroizing;

use super::encoding::{base64, from_base64};
use super::encrypt::{decode_associated_data, seal};
use super::route::Route;
use super::{Transit, answer};

impl Transit {
    /// `POST datakey/<plaintext or wrapped>/<name>`
    pub(super) async fn make_datakey(&self, request: &Request, route: &Route<'_>) -> Reply {
        let fields = request.fields();
        let version = fields.integer("key_version")?.unwrap_or_default();
        let shows_plaintext = match route.before {
            "plaintext" => true,
            "wrapped" => false,
            _ => return Err(Error::invalid("Invalid path, must be 'plaintext' or 'wrapped'")),
        };
        let context = from_base64(&fields.string("context")?.unwrap_or_default())
            .map_err(|_| Error::invalid("failed to base64-decode context"))?;
        let key = self.existing(route.name, "encryption key not found").await?;
        let length = match fields.integer("bits")? {
            Some(512) => 64,
            Some(256) | None => 32,
            Some(128) => 16,
            _ => return Err(Error::invalid("invalid bit length")),
        };
        let associated_data = fields.string("associated_data")?.unwrap_or_default();
        let kind = key.settings.kind;
        if !associated_data.is_empty() && !kind.is_aead() {
            return Err(Error::invalid(format!(
                "'associated_data' provided for non-AEAD cipher suite {kind}"
            )));
        }
        let associated_data = decode_associated_data(&associated_data)?;
        let mut made = Zeroizing::new(vec![0; length]);
        self.random.fill(&mut made);
        let sealed = seal(&key, version, &made, &context, &associated_data, &*self.random)?;
        let mut data = json!({ "ciphertext": sealed.text, "key_version": sealed.version });
        if shows_plaintext {
            data["plaintext"] = base64(&made).into();
        }
        answer(data)
    }
}
