//! OCSP: is this certificate revoked?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::ocsp::{OcspRefusal, OcspRequest, OcspStatus};
use holdfast_keys::x509::{Hash, SignatureAlgorithm};
use holdfast_logical::{Error, RawBody, Reply, Request, Response};
use tracing::debug;

use super::Engine;
use super::crl_config::CrlConfig;
use super::issuer::Issuer;
use super::revoke::Revoked;
use super::serial;
use super::store::{Authorities, DEFAULT, Key};

/// Questions in base64 are shorter than this: 2 KiB of DER.
const LONGEST_QUESTION: usize = 2732;

const CONTENT_TYPE: &str = "application/ocsp-response";

fn answer(der: Vec<u8>, status: u16) -> Response {
    let raw = RawBody { content_type: CONTENT_TYPE.to_owned(), body: der };
    Response { raw: Some(raw), ..Response::default() }.status(status)
}

fn refusal(refusal: OcspRefusal) -> Response {
    let status = match refusal {
        OcspRefusal::Malformed => 400,
        OcspRefusal::Internal => 500,
        OcspRefusal::Unauthorized => 401,
    };
    answer(refusal.to_der(), status)
}

impl Engine {
    /// The question as the body of a POST, which reaches us in base64.
    pub(super) async fn ocsp_post(&self, request: &Request) -> Reply {
        let question = request.fields().string("body")?.unwrap_or_default();
        self.ocsp(&question).await
    }

    /// The question in base64.
    pub(super) async fn ocsp(&self, question: &str) -> Reply {
        let config = self.crl_config().await?;
        if config.ocsp_disable {
            return Ok(Some(refusal(OcspRefusal::Unauthorized)));
        }
        let question = Some(question)
            .filter(|text| !text.is_empty() && text.len() < LONGEST_QUESTION)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|der| OcspRequest::from_der(&der).ok());
        let Some(question) = question else {
            return Ok(Some(refusal(OcspRefusal::Malformed)));
        };
        Ok(Some(match self.status_of(&config, &question).await {
            Ok(response) => response,
            Err(error) => {
                debug!(%error, "answer an OCSP question");
                refusal(OcspRefusal::Internal)
            }
        }))
    }

    async fn status_of(
        &self,
        config: &CrlConfig,
        question: &OcspRequest,
    ) -> Result<Response, Error> {
        let authorities = self.store.authorities().await?;
        let path = format!("revoked/{}", serial::with_hyphens(&question.serial));
        let revoked = self.context.storage.get_json::<Revoked>(&path).await?;
        let matching = || {
            authorities.issuers.values().filter_map(|issuer| {
                let key = authorities.key_of(issuer)?;
                question.is_about(&issuer.certificate).then_some((issuer, key))
            })
        };
        let found = matching().find(|(issuer, _)| issuer.entry.usage.ocsp_signing);
        let status = match (revoked, found) {
            (Some(revoked), Some(_)) => OcspStatus::Revoked(revoked.revoked_at),
            (None, Some(_)) => OcspStatus::Good,
            (_, None) if matching().next().is_some() => {
                return Ok(refusal(OcspRefusal::Unauthorized));
            }
            (_, None) => OcspStatus::Unknown,
        };
        let responder = match found {
            Some((issuer, key)) => Some((&**issuer, &**key)),
            None => default_responder(&authorities),
        };
        let Some((issuer, key)) = responder else {
            return Ok(refusal(OcspRefusal::Unauthorized));
        };
        let now = self.context.clock.now();
        let expiry = config.ocsp_expiry();
        let next_update = (!expiry.is_zero()).then(|| now + expiry);
        // Without PSS, which readers of OCSP do not expect.
        let algorithm = match issuer.revocation_algorithm() {
            Some(SignatureAlgorithm::RsaPss(hash) | SignatureAlgorithm::Rsa(hash)) => {
                key.pair.signature_algorithm(hash, false)
            }
            _ => key.pair.signature_algorithm(Hash::Sha256, false),
        };
        let signer = (&issuer.certificate, &key.pair, algorithm);
        let der = question
            .answer(status, now, next_update, signer)
            .map_err(|error| Error::internal("sign an OCSP answer", error))?;
        Ok(answer(der, 200))
    }
}

/// Who answers for issuers that are not known.
fn default_responder(authorities: &Authorities) -> Option<(&Issuer, &Key)> {
    let issuer = authorities.issuer(DEFAULT).ok()?;
    let key = authorities.key_of(issuer)?;
    issuer.entry.usage.ocsp_signing.then_some((issuer, key))
}
