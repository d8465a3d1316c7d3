//! `sys/generate-root-token/...`: a root token for whoever has a quorum of shares, hidden from those
//! who only see the answers by a one-time pad that the first of them gets.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use holdfast_barrier::Barrier;
use holdfast_logical::{Error, Operation, Reply, Request, Response};
use holdfast_types::{Random, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::quorum::Quorum;
use crate::core::Core;

/// The length of a root token, and so of the pad.
const OTP_LENGTH: usize = 26;

/// The attempt at a root token that is under way, if there is one.
pub(super) struct RootTokens {
    barrier: Arc<Barrier>,
    core: Weak<Core>,
    random: Arc<dyn Random>,
    attempt: Mutex<Option<Attempt>>,
}

struct Attempt {
    otp: SecretString,
    quorum: Quorum,
}

impl RootTokens {
    pub(super) fn new(barrier: Arc<Barrier>, core: Weak<Core>, random: Arc<dyn Random>) -> Self {
        Self { barrier, core, random, attempt: Mutex::new(None) }
    }

    pub(super) async fn handle(&self, step: &str, request: &Request) -> Reply {
        match (step, request.operation) {
            ("attempt", Operation::Read) => {
                Ok(Some(Response::data(self.status(&*self.attempt.lock().await))))
            }
            ("attempt", Operation::Delete) => {
                *self.attempt.lock().await = None;
                Ok(None)
            }
            ("attempt", operation) if operation.is_write() => self.begin(request).await,
            ("update", operation) if operation.is_write() => self.submit(request).await,
            ("attempt" | "update", _) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    async fn begin(&self, request: &Request) -> Reply {
        let fields = request.fields();
        if fields.has("pgp_key") {
            return Err(Error::invalid("pgp_key is not supported"));
        }
        if Quorum::required(&self.barrier) == 0 {
            return Err(Error::invalid(
                "there are no recovery shares yet; make them with sys/rotate/recovery/init",
            ));
        }
        let mut slot = self.attempt.lock().await;
        if slot.is_some() {
            return Err(Error::invalid("root generation already in progress"));
        }
        let chosen = fields.string("otp")?.filter(|otp| !otp.is_empty());
        let shown = chosen.is_none();
        let otp = SecretString::new(chosen.unwrap_or_else(|| self.random.base62(OTP_LENGTH)));
        if otp.expose().len() != OTP_LENGTH {
            return Err(Error::invalid("OTP string has incorrect length"));
        }
        let quorum = Quorum::new(&*self.random);
        *slot = Some(Attempt { otp, quorum });
        let mut body = self.status(&slot);
        if let (true, Some(attempt)) = (shown, slot.as_ref()) {
            body["otp"] = attempt.otp.expose().as_str().into();
        }
        Ok(Some(Response::data(body)))
    }

    async fn submit(&self, request: &Request) -> Reply {
        let mut slot = self.attempt.lock().await;
        let Some(attempt) = slot.as_mut() else {
            return Err(Error::invalid("no root generation in progress"));
        };
        let doing = "this root generation operation";
        let complete = attempt.quorum.submit(request, doing, &self.barrier, &*self.random).await?;
        if !complete {
            return Ok(Some(Response::data(self.status(&slot))));
        }
        let core = self.core.upgrade().ok_or_else(|| Error::invalid("the server is stopping"))?;
        let token = core.create_root_token(None).await?;
        let encoded = pad(&token, &attempt.otp).ok_or_else(|| {
            Error::invalid("a root token has another length than the one-time pad")
        })?;
        let required = Quorum::required(&self.barrier);
        let body = json!({
            "started": true,
            "complete": true,
            "nonce": attempt.quorum.nonce,
            "progress": required,
            "required": required,
            "encoded_token": encoded,
            "pgp_fingerprint": "",
        });
        *slot = None;
        Ok(Some(Response::data(body)))
    }

    fn status(&self, attempt: &Option<Attempt>) -> Value {
        let required = Quorum::required(&self.barrier);
        let mut body = json!({
            "started": attempt.is_some(),
            "progress": 0,
            "required": required,
            "complete": false,
            "otp": "",
            "otp_length": OTP_LENGTH,
        });
        if let Some(attempt) = attempt {
            body["nonce"] = attempt.quorum.nonce.clone().into();
            body["progress"] = attempt.quorum.progress().into();
            body["pgp_fingerprint"] = "".into();
        }
        body
    }
}

/// The token under the pad, in base64.
fn pad(token: &SecretString, otp: &SecretString) -> Option<String> {
    let (token, otp) = (token.expose().as_bytes(), otp.expose().as_bytes());
    if token.len() != otp.len() {
        return None;
    }
    let padded = token.iter().zip(otp).map(|(token, otp)| token ^ otp);
    let padded: Zeroizing<Vec<u8>> = Zeroizing::new(padded.collect());
    Some(STANDARD_NO_PAD.encode(padded.as_slice()))
}
