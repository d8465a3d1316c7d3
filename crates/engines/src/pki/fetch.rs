//! Looking at certificates: by number, the mount's authority, lists of them.

use holdfast_keys::x509::{Certificate, GeneralName, KeyAlgorithm, encode_pem};
use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::{Timestamp, rfc3339};
use serde_json::{Map, json};

use super::Engine;
use super::error::failed;
use super::issuers::{after_and_limit, list_with_info};
use super::output::{CRL_DER, CRL_PEM, DER, PEM, raw};
use super::revoke::Revoked;
use super::route::Form;
use super::serial::{shown, stored};
use super::store::DEFAULT;

/// How many DNS names a list shows of a certificate.
const NAMES_SHOWN: usize = 5;

fn pem(label: &str, der: &[u8]) -> String {
    encode_pem(label, der).trim_end().to_owned()
}

impl Engine {
    pub(super) async fn list_certificates(&self, folder: &str, request: &Request) -> Reply {
        let (after, limit) = after_and_limit(request)?;
        let after = after.map(|after| stored(&after));
        let numbers = self.context.storage.list_page(folder, after.as_deref(), limit).await?;
        Ok(Response::list(numbers.iter().map(|number| shown(number)).collect()))
    }

    pub(super) async fn list_detailed(&self, request: &Request) -> Reply {
        let (after, limit) = after_and_limit(request)?;
        let after = after.map(|after| stored(&after));
        let numbers = self.context.storage.list_page("certs/", after.as_deref(), limit).await?;
        let (mut keys, mut info) = (Vec::new(), Map::new());
        for number in numbers {
            let Some(der) = self.context.storage.get(&format!("certs/{number}")).await? else {
                continue;
            };
            let certificate = Certificate::from_der(&der).map_err(failed("read a certificate"))?;
            let (kind, bits) = match certificate.public_key.algorithm() {
                KeyAlgorithm::Rsa(bits) => ("rsa", bits),
                KeyAlgorithm::Ec(curve) => ("ec", curve.bits()),
                KeyAlgorithm::Ed25519 => ("ed25519", 256),
            };
            let names = certificate.names().into_iter().filter_map(|name| match name {
                GeneralName::Dns(name) => Some(name),
                _ => None,
            });
            let names: Vec<_> = names.take(NAMES_SHOWN).collect();
            let about = json!({
                "common_name": certificate.subject.common_name().unwrap_or_default(),
                "issuer": certificate.issuer.to_string(),
                "key_type": kind,
                "key_bits": bits,
                "not_after": rfc3339(certificate.not_after),
                "not_before": rfc3339(certificate.not_before),
                "dns_names": if names.is_empty() { json!(null) } else { json!(names) },
            });
            info.insert(shown(&number), about);
            keys.push(shown(&number));
        }
        Ok(list_with_info(keys, info))
    }

    pub(super) async fn certificate(&self, serial: &str, form: Form) -> Reply {
        let number = stored(serial);
        let der = self.context.storage.get(&format!("certs/{number}")).await?;
        match (form, der) {
            (Form::Der, der) => Ok(Some(raw(DER, der.map(|der| der.to_vec()).unwrap_or_default()))),
            (Form::Pem, der) => {
                let text = der.map(|der| pem("CERTIFICATE", &der)).unwrap_or_default();
                Ok(Some(raw(PEM, text.into_bytes())))
            }
            (_, None) => Ok(None),
            (_, Some(der)) => {
                let revoked: Option<Revoked> =
                    self.context.storage.get_json(&format!("revoked/{number}")).await?;
                let at = revoked.as_ref().map(|revoked| revoked.revoked_at);
                let mut data = json!({
                    "certificate": pem("CERTIFICATE", &der),
                    "revocation_time": at.map_or(0, Timestamp::as_second),
                    "revocation_time_rfc3339": at.map_or(String::new(), rfc3339),
                });
                if let Some(issuer) = revoked.and_then(|revoked| revoked.issuer) {
                    data["issuer_id"] = issuer.into();
                }
                Ok(Some(Response::data(data)))
            }
        }
    }

    /// The certificate of the default issuer.
    pub(super) async fn ca(&self, form: Form) -> Reply {
        let authorities = self.store.authorities().await?;
        let issuer = authorities.issuer(DEFAULT);
        let issuer = issuer.ok().filter(|issuer| authorities.key_of(issuer).is_some());
        Ok(Some(match (form, issuer) {
            (Form::Der, issuer) => {
                raw(DER, issuer.map(|issuer| issuer.certificate.der.clone()).unwrap_or_default())
            }
            (Form::Pem, issuer) => {
                let text = issuer.map(|issuer| issuer.entry.certificate.clone());
                raw(PEM, text.unwrap_or_default().into_bytes())
            }
            (_, Some(issuer)) => public_data(&issuer.entry.certificate),
            (_, None) => return Err(self.no_default().await?),
        }))
    }

    /// The certificates from the default issuer to its roots.
    pub(super) async fn ca_chain(&self, form: Form) -> Reply {
        let authorities = self.store.authorities().await?;
        let issuer = authorities.issuer(DEFAULT);
        let issuer = issuer.ok().filter(|issuer| authorities.key_of(issuer).is_some());
        let chain = issuer.map(|issuer| {
            let chain = authorities.chain(issuer);
            let texts: Vec<_> = chain.iter().map(|i| i.entry.certificate.as_str()).collect();
            texts.join("\n")
        });
        match (form, chain) {
            (Form::Pem, chain) => Ok(Some(raw(DER, chain.unwrap_or_default().into_bytes()))),
            (_, Some(chain)) => {
                let mut response = public_data(&chain);
                if let Some(data) = &mut response.data {
                    data.insert("ca_chain".to_owned(), chain.into());
                }
                Ok(Some(response))
            }
            (_, None) => Err(self.no_default().await?),
        }
    }

    async fn no_default(&self) -> Result<Error, Error> {
        let authorities = self.store.authorities().await?;
        Ok(match authorities.issuer(DEFAULT) {
            Err(error) => Error::invalid(error.to_string()),
            Ok(issuer) => Error::invalid(format!(
                "unable to fetch corresponding key for issuer {}; unable to use this issuer for \
                 signing",
                issuer.entry.id
            )),
        })
    }

    /// The revocation list of the default issuer. Where there is none, the raw forms are empty.
    pub(super) async fn default_crl(&self, delta: bool, form: Form) -> Reply {
        let list = self.list_of(DEFAULT, delta).await?;
        Ok(Some(match (form, list) {
            (Form::Der, list) => raw(CRL_DER, list.unwrap_or_default()),
            (Form::Pem, list) => {
                let text = list.map(|list| pem("X509 CRL", &list)).unwrap_or_default();
                raw(CRL_PEM, text.into_bytes())
            }
            (_, Ok(list)) => public_data(&pem("X509 CRL", &list)),
            (_, Err(problem)) => return Err(Error::invalid(problem)),
        }))
    }

    /// The revocation list of an issuer.
    pub(super) async fn issuer_crl(&self, issuer: &str, delta: bool, form: Form) -> Reply {
        let list = self.list_of(super::route::reference(issuer), delta).await?;
        let list = list.map_err(Error::invalid)?;
        let text = || format!("{}\n", pem("X509 CRL", &list));
        Ok(Some(match form {
            Form::Der => raw(CRL_DER, list),
            Form::Pem => raw(CRL_PEM, text().into_bytes()),
            Form::Json | Form::Full => Response::data(json!({ "crl": text() })),
        }))
    }
}

/// What is said of a certificate that cannot be revoked here.
fn public_data(text: &str) -> Response {
    Response::data(json!({
        "certificate": text,
        "revocation_time": 0,
        "revocation_time_rfc3339": "",
    }))
}
