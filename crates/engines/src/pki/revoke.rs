//! Taking certificates back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::Batch;
use holdfast_keys::x509::{Certificate, PrivateKey, decode_pem};
use holdfast_logical::{Error, Lease, Reply, Request, Response};
use holdfast_types::{Timestamp, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Engine;
use super::crl_config::CrlConfig;
use super::error::{failed, fault};
use super::issuers::issuer_response;
use super::serial;
use super::store::Authorities;

/// A certificate that is about to expire is not put on a list any more.
const ABOUT_TO_EXPIRE: Duration = Duration::from_secs(2);

/// `revoked/<serial>`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Revoked {
    pub(super) revoked_at: Timestamp,
    /// The id of the issuer that signed it, once that is known.
    pub(super) issuer: Option<String>,
    /// DER in base64: the certificate itself may be tidied away before.
    certificate: String,
}

impl Revoked {
    fn new(certificate: &Certificate, revoked_at: Timestamp, issuer: Option<String>) -> Self {
        Self { revoked_at, issuer, certificate: STANDARD.encode(&certificate.der) }
    }

    /// The certificate, parsed. None: it cannot be.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        Certificate::from_der(&STANDARD.decode(&self.certificate).ok()?).ok()
    }
}

/// The issuer here that signed a certificate.
pub(super) fn signed_by(authorities: &Authorities, certificate: &Certificate) -> Option<String> {
    let by_name = |id: &&String| {
        authorities.issuers.get(*id).is_some_and(|issuer| {
            issuer.certificate.subject == certificate.issuer
                && certificate.check_signed_by(&issuer.certificate).is_ok()
        })
    };
    authorities.issuers.keys().find(by_name).cloned()
}

impl Engine {
    /// `revoke`, and `revoke-with-key` for whoever has the certificate's key.
    pub(super) async fn revoke(&self, request: &Request, with_key: bool) -> Reply {
        let fields = request.fields();
        let number = fields.string("serial_number")?;
        let given = fields.string("certificate")?;
        if number.is_none() && given.is_none() {
            return Err(Error::invalid(
                "The serial number or certificate to revoke must be provided.",
            ));
        }
        if number.is_some() && given.is_some() {
            return Err(Error::invalid(
                "Must provide either the certificate or the serial to revoke; not both.",
            ));
        }
        let key = fields.string("private_key")?.filter(|_| with_key);
        match &key {
            None if with_key => {
                return Err(Error::invalid(
                    "Must have private key to revoke via the /revoke-with-key path.",
                ));
            }
            Some(key) if key.len() < 64 => {
                return Err(Error::invalid(
                    "Provided data for private_key was too short; perhaps a path was passed to the \
                     API rather than the contents of a PEM file?",
                ));
            }
            _ => {}
        }
        let (certificate, is_new) = match (given, number) {
            (Some(pem), _) => self.given_certificate(&pem).await?,
            (None, number) => {
                let number = number.unwrap_or_default();
                if number.is_empty() {
                    return Err(Error::invalid("The serial number must be provided"));
                }
                let found = self.stored_certificate(&serial::stored(&number)).await?;
                let found = found.ok_or_else(|| {
                    Error::invalid(format!("certificate with serial {number} not found."))
                })?;
                (found, false)
            }
        };
        if let Some(key) = key {
            check_key(&key, &certificate)?;
        }
        self.revoke_certificate(&certificate, is_new).await
    }

    async fn stored_certificate(&self, stored: &str) -> Result<Option<Certificate>, Error> {
        let der = self.context.storage.get(&format!("certs/{stored}")).await?;
        let read = |der: zeroize::Zeroizing<Vec<u8>>| Certificate::from_der(&der);
        der.map(read).transpose().map_err(failed("read a certificate"))
    }

    /// A certificate that was brought along, and whether it is not stored here.
    async fn given_certificate(&self, pem: &str) -> Result<(Certificate, bool), Error> {
        if pem.len() < 75 {
            return Err(fault(
                "provided certificate data was too short; perhaps a path was passed to the API \
                 rather than the contents of a PEM file",
            ));
        }
        let (block, _) =
            decode_pem(pem).ok_or_else(|| fault("certificate contains no PEM data"))?;
        let given = Certificate::from_der(&block.der)
            .map_err(|error| fault(format!("certificate could not be parsed: {error}")))?;
        if let Some(known) = self.stored_certificate(&serial::with_hyphens(&given.serial)).await? {
            if known.der != given.der {
                return Err(fault(
                    "certificate with same serial but unequal value already present in this \
                     cluster's storage; refusing to revoke",
                ));
            }
            return Ok((known, false));
        }
        let authorities = self.store.authorities().await?;
        let is_ours = authorities
            .issuers
            .values()
            .any(|issuer| given.check_signed_by(&issuer.certificate).is_ok());
        if !is_ours {
            return Err(fault(
                "unable to verify signature on presented cert from any present issuer in this \
                 mount; certificates from previous CAs will need to have their issuing CA and key \
                 re-imported if revocation is necessary",
            ));
        }
        Ok((given, true))
    }

    /// Revokes a certificate. One that is revoked already stays so since then.
    async fn revoke_certificate(&self, certificate: &Certificate, is_new: bool) -> Reply {
        let held = self.revocations.lock().await;
        let authorities = self.store.authorities().await?;
        let own = |issuer: &&std::sync::Arc<super::issuer::Issuer>| {
            issuer.certificate.serial == certificate.serial
        };
        if let Some(issuer) = authorities.issuers.values().find(own) {
            return Err(Error::invalid(format!(
                "adding issuer (id: {}) to its own CRL is not allowed",
                issuer.entry.id
            )));
        }
        let number = serial::with_hyphens(&certificate.serial);
        let path = format!("revoked/{number}");
        if let Some(revoked) = self.context.storage.get_json::<Revoked>(&path).await? {
            return Ok(Some(revoked_response(revoked.revoked_at)));
        }
        let config = self.crl_config().await?;
        let now = self.context.clock.now();
        if certificate.not_after < now + ABOUT_TO_EXPIRE && !config.allow_expired_cert_revocation {
            return Ok(Some(Response::default().warn(format!(
                "certificate with serial {} already expired; refusing to add to CRL. Enable \
                 'AllowExpiredCertRevocation' to allow revoking expired certificates.",
                serial::with_colons(&certificate.serial)
            ))));
        }
        let revoked = Revoked::new(certificate, now, signed_by(&authorities, certificate));
        let mut batch = Batch::new();
        self.context.storage.batch_json(&mut batch, &path, &revoked)?;
        if is_new {
            batch.put(format!("certs/{number}"), certificate.der.clone());
        }
        if config.auto_rebuild && config.enable_delta {
            batch.put(format!("delta/{number}"), Vec::new());
        }
        self.context.storage.commit(batch).await?;
        // What follows reads what was written: others may revoke meanwhile, and one rebuild then
        // serves them all.
        drop(held);
        let response = revoked_response(now);
        self.rebuild_after_revocation(&config, response).await.map(Some)
    }

    async fn rebuild_after_revocation(
        &self,
        config: &CrlConfig,
        mut response: Response,
    ) -> Result<Response, Error> {
        if config.auto_rebuild {
            return Ok(response);
        }
        for (index, warning) in self.rebuild_lists(false).await?.iter().enumerate() {
            response =
                response.warn(format!("Warning {} during CRL rebuild: {warning}", index + 1));
        }
        Ok(response)
    }

    /// Revokes what a lease stands for. One that is no longer stored has expired and was tidied.
    pub(super) async fn revoke_lease(&self, lease: &Lease) -> Result<(), Error> {
        let number = lease.internal.get("serial_number").and_then(serde_json::Value::as_str);
        let number = number.ok_or_else(|| {
            Error::internal("revoke a certificate", "the lease names no serial number")
        })?;
        match self.stored_certificate(&serial::stored(number)).await? {
            Some(certificate) if !certificate.is_ca => {
                self.revoke_certificate(&certificate, false).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// `issuer/<ref>/revoke`: it signs no more certificates, and is on the lists of those that
    /// signed it.
    pub(super) async fn revoke_issuer(&self, reference: &str) -> Reply {
        let mut change = self.store.change().await?;
        let issuer =
            change.authorities.issuer(super::route::reference(reference)).map_err(fault)?;
        let issuer = issuer.clone();
        if issuer.entry.revoked_at.is_some() {
            return Ok(Some(issuer_response(&change.authorities, &issuer)));
        }
        let now = self.context.clock.now();
        let mut revoked = (*issuer).clone();
        revoked.entry.revoked_at = Some(now);
        revoked.entry.usage.issuing_certificates = false;
        let issuer = change.put_issuer(revoked)?;
        let number = serial::with_hyphens(&issuer.certificate.serial);
        let stored = self.context.storage.get(&format!("certs/{number}")).await?;
        if stored.is_some_and(|der| *der == issuer.certificate.der) {
            let entry = Revoked::new(&issuer.certificate, now, None);
            let path = format!("revoked/{number}");
            self.context.storage.batch_json(&mut change.batch, &path, &entry)?;
        }
        let authorities = change.commit().await?;
        let mut response = issuer_response(&authorities, &issuer);
        for (index, warning) in self.rebuild_lists(false).await?.iter().enumerate() {
            response =
                response.warn(format!("Warning {} during CRL rebuild: {warning}", index + 1));
        }
        Ok(Some(warn_of_reach(&authorities, &issuer, response)))
    }
}

/// Says where the revocation of an issuer will not be seen.
fn warn_of_reach(
    authorities: &Authorities,
    issuer: &super::issuer::Issuer,
    mut response: Response,
) -> Response {
    let certificate = &issuer.certificate;
    let has_other_parent = authorities.issuers.values().any(|other| {
        other.entry.id != issuer.entry.id && certificate.check_signed_by(&other.certificate).is_ok()
    });
    if certificate.check_signed_by(certificate).is_ok() {
        response = response.warn(
            "This issuer is a self-signed (potentially root) certificate. This means it may not be \
             considered revoked if there is not an external, cross-signed variant of this \
             certificate. This issuer's serial number will not appear on its own CRL.",
        );
    }
    if !has_other_parent {
        response = response.warn(
            "This issuer lacks another parent issuer within the mount. This means it will not \
             appear on any other CRLs and may not be considered revoked by clients. Consider \
             adding this issuer to its issuer's CRL as well if it is not self-signed.",
        );
    }
    if authorities.config.default == issuer.entry.id {
        response = response.warn(
            "This issuer is currently configured as the default issuer for this mount; operations \
             such as certificate issuance may not work until a new default issuer is selected.",
        );
    }
    response
}

fn revoked_response(at: Timestamp) -> Response {
    Response::data(json!({
        "revocation_time": at.as_second(),
        "revocation_time_rfc3339": rfc3339(at),
        "state": "revoked",
    }))
}

/// Checks that a key is the certificate's.
fn check_key(pem: &str, certificate: &Certificate) -> Result<(), Error> {
    let (block, _) = decode_pem(pem)
        .ok_or_else(|| fault("provided key PEM block contained no data or failed to parse"))?;
    let key = PrivateKey::from_der(&block.der).map_err(|_| {
        fault(
            "failed to parse provided private key: failed to parse provided DER key: unknown \
             private key type",
        )
    })?;
    let (own, wanted) = (key.algorithm(), certificate.public_key.algorithm());
    if own.as_str() != wanted.as_str() {
        return Err(fault(
            "provided private key type does not match certificate's public key type",
        ));
    }
    if *key.public_key() != certificate.public_key {
        return Err(fault("provided private key does not match certificate's public key"));
    }
    Ok(())
}
