//! Requests for intermediates that others sign.

use holdfast_keys::x509::{Extension, PrivateKey, RequestTemplate, encode_pem};
use holdfast_logical::{Reply, Request, Response};
use serde_json::{Map, json};

use super::Engine;
use super::ca_request::CaRequest;
use super::error::failed;
use super::generate::key_algorithm;
use super::keys::{KeySource, key_name};
use super::output::{Format, base64, put_key};
use super::root::{NO_URLS, signature_algorithm};

impl Engine {
    /// `intermediate/generate/...`, and `intermediate/cross-sign` for a key that is here.
    pub(super) async fn generate_intermediate(
        &self,
        exported: Option<&str>,
        request: &Request,
    ) -> Reply {
        let fields = request.fields();
        let authorities = self.store.authorities().await?;
        let asked = CaRequest::parse(exported.unwrap_or("existing"), fields, &authorities)?;
        let key_name = key_name(&authorities, fields)?;
        let profile = self.profile_of(&asked.role, request)?;
        let made;
        let key = match &asked.existing {
            Some(key) => &key.pair,
            None => {
                let algorithm = key_algorithm(&asked.role.key_type, asked.role.key_bits)?;
                made = self.generator.generate(algorithm).await?;
                &made
            }
        };
        let mut extensions = Vec::from_iter(Extension::subject_alt_name(&profile.names, false));
        if fields.bool("add_basic_constraints")?.unwrap_or_default() {
            extensions.push(Extension::basic_constraints(true, None));
        }
        let template = RequestTemplate { subject: profile.subject.to_name(), extensions };
        let csr = template.sign(key, signature_algorithm(key, &asked.role));
        let csr = csr.map_err(failed("sign a request"))?;

        let mut warnings = Vec::new();
        if self.urls().await?.is_empty() {
            warnings.push(format!(
                "{NO_URLS} Since this certificate is an intermediate, it might be useful to \
                 regenerate this certificate after fixing this problem for the root mount."
            ));
        }
        let mut data = Map::new();
        let pem = encode_pem("CERTIFICATE REQUEST", &csr).trim_end().to_owned();
        let is_exported = asked.exported == KeySource::Exported;
        let text = match (asked.format, is_exported) {
            (Format::Der, _) => base64(&csr),
            (Format::PemBundle, true) => format!("{}\n{pem}", key.to_pem().expose()),
            _ => pem,
        };
        data.insert("csr".to_owned(), text.into());
        if is_exported {
            put_key(&mut data, key, asked.format, fields)?;
        }
        let stored = PrivateKey::from_der(key.to_der()).map_err(failed("keep the key"))?;
        let mut change = self.store.change().await?;
        let (key, existed) = change.add_key(stored, &key_name)?;
        if !existed {
            change.commit().await?;
        }
        data.insert("key_id".to_owned(), json!(key.entry.id));
        warnings.extend(profile.warnings);
        Ok(Some(Response { data: Some(data), warnings, ..Response::default() }))
    }
}
