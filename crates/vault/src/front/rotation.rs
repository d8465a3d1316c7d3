//! `sys/rotate/root/...` and `sys/rotate/recovery/...`: new shares for the old.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::{Barrier, NewShares, SharePlan, ShareProgress};
use holdfast_logical::{Error, Operation, Reply, Request, Response};
use holdfast_types::Random;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::quorum::Quorum;

/// The rotation under way, if there is one.
pub(super) struct Rotations {
    barrier: Arc<Barrier>,
    random: Arc<dyn Random>,
    attempt: Mutex<Option<Attempt>>,
}

struct Attempt {
    plan: SharePlan,
    quorum: Quorum,
    /// Whether a quorum of the new shares is asked for before they are taken into use.
    verifies: bool,
    /// The new shares while they wait for that, and those given back.
    waiting: Option<(NewShares, Quorum)>,
}

impl Rotations {
    pub(super) fn new(barrier: Arc<Barrier>, random: Arc<dyn Random>) -> Self {
        Self { barrier, random, attempt: Mutex::new(None) }
    }

    /// `which` is `root` or `recovery`: the one that fits the seal, and no other.
    pub(super) async fn handle(&self, which: &str, step: &str, request: &Request) -> Reply {
        let recovery = self.barrier.seal_status().recovery_seal;
        match (which, recovery) {
            ("root", true) => {
                return Err(Error::invalid(
                    "the root key of a static seal is rotated by a new current_key and a restart",
                ));
            }
            ("recovery", false) => return Err(Error::invalid("recovery not supported")),
            _ => {}
        }
        match (step, request.operation) {
            ("init", Operation::Read) => Ok(Some(self.status(&*self.attempt.lock().await))),
            ("init", Operation::Delete) => {
                self.abandon().await;
                Ok(None)
            }
            ("init", operation) if operation.is_write() => self.begin(request).await,
            ("update", operation) if operation.is_write() => self.submit(request).await,
            ("verify", operation) if operation.is_write() => self.verify(request).await,
            ("verify", Operation::Read) => match &*self.attempt.lock().await {
                Some(attempt) => Ok(Some(attempt.verification())),
                None => Err(no_rotation()),
            },
            ("verify", Operation::Delete) => match &mut *self.attempt.lock().await {
                Some(attempt) => {
                    if let Some((_, given)) = &mut attempt.waiting {
                        *given = Quorum::new(&*self.random);
                    }
                    Ok(Some(attempt.verification()))
                }
                None => Err(no_rotation()),
            },
            ("init" | "update" | "verify", _) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    /// Ends the rotation under way, and forgets the new shares that wait for their verification.
    pub(super) async fn abandon(&self) {
        *self.attempt.lock().await = None;
    }

    async fn begin(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let shares = fields.integer("secret_shares")?.unwrap_or_default();
        let threshold = fields.integer("secret_threshold")?.unwrap_or_default();
        let verifies = fields.bool("require_verification")?.unwrap_or(false);
        if fields.bool("backup")? == Some(true) {
            return Err(Error::invalid("backup is not supported"));
        }
        if fields.strings("pgp_keys")?.is_some_and(|keys| !keys.is_empty()) {
            return Err(Error::invalid("pgp_keys is not supported"));
        }
        let mut attempt = self.attempt.lock().await;
        if attempt.is_some() {
            return Err(Error::invalid("rotation already in progress"));
        }
        let plan = SharePlan::new(shares, threshold).map_err(|error| {
            Error::invalid(format!("invalid rotate seal configuration: {error}"))
        })?;
        if Quorum::required(&self.barrier) == 0 {
            // The first recovery shares: there is nobody yet to ask.
            let new = NewShares::generate(plan, &*self.random);
            self.barrier.rekey(&new).await?;
            let mut body = finished(&new);
            body["n"] = plan.shares().into();
            body["t"] = plan.threshold().into();
            return Ok(Some(Response::data(body)));
        }
        let quorum = Quorum::new(&*self.random);
        *attempt = Some(Attempt { plan, quorum, verifies, waiting: None });
        Ok(Some(self.status(&attempt)))
    }

    async fn submit(&self, request: &Request) -> Reply {
        let mut slot = self.attempt.lock().await;
        let Some(attempt) = slot.as_mut() else {
            return Err(Error::invalid("no rotation in progress"));
        };
        if let Some((_, given)) = &attempt.waiting {
            return Err(Error::invalid(format!(
                "rotation already finished; verification must be performed; nonce for the \
                 verification operation is {:?}",
                given.nonce
            )));
        }
        let complete =
            attempt.quorum.submit(request, "rotation", &self.barrier, &*self.random).await?;
        if !complete {
            return Ok(Some(self.status(&slot)));
        }
        let new = NewShares::generate(attempt.plan, &*self.random);
        let mut body = finished(&new);
        body["nonce"] = attempt.quorum.nonce.clone().into();
        if attempt.verifies {
            let given = Quorum::new(&*self.random);
            body["verification_required"] = true.into();
            body["verification_nonce"] = given.nonce.clone().into();
            // Whoever starts over has to have the old shares again.
            attempt.quorum.progress = ShareProgress::new();
            attempt.waiting = Some((new, given));
        } else {
            self.barrier.rekey(&new).await?;
            *slot = None;
        }
        Ok(Some(Response::data(body)))
    }

    /// Takes one of the new shares back; once a quorum of them is, they are in use.
    async fn verify(&self, request: &Request) -> Reply {
        let mut slot = self.attempt.lock().await;
        if !request.fields().has("key") {
            return Err(Error::invalid("missing required field 'key'"));
        }
        let attempt = slot.as_mut().ok_or_else(no_rotation)?;
        let Some((new, given)) = &mut attempt.waiting else {
            return Err(Error::invalid("no rotation verification in progress"));
        };
        let random = &*self.random;
        let required = attempt.plan.threshold();
        let Some(shares) = given.collect(request, "this verify operation", required, random)?
        else {
            return Ok(Some(attempt.verification()));
        };
        if new.check(&shares).is_err() {
            *given = Quorum::new(random);
            return Err(Error::invalid(
                "rotation verification failed; incorrect key shares supplied",
            ));
        }
        self.barrier.rekey(new).await?;
        let body = json!({ "complete": true, "nonce": given.nonce });
        *slot = None;
        Ok(Some(Response::data(body)))
    }

    fn status(&self, attempt: &Option<Attempt>) -> Response {
        let required = Quorum::required(&self.barrier);
        Response::data(match attempt {
            None => json!({ "started": false, "t": 0, "n": 0, "required": required }),
            Some(Attempt { plan, quorum, verifies, waiting }) => json!({
                "started": true,
                "t": plan.threshold(),
                "n": plan.shares(),
                "nonce": quorum.nonce,
                "progress": quorum.progress(),
                "required": required,
                "verification_required": verifies,
                "verification_nonce": waiting.as_ref().map_or("", |(_, given)| &given.nonce),
            }),
        })
    }
}

impl Attempt {
    /// How far the verification of the new shares is.
    fn verification(&self) -> Response {
        let given = self.waiting.as_ref().map(|(_, given)| given);
        Response::data(json!({
            "started": given.is_some(),
            "n": self.plan.shares(),
            "t": self.plan.threshold(),
            "nonce": given.map_or("", |given| &given.nonce),
            "progress": given.map_or(0, Quorum::progress),
        }))
    }
}

fn no_rotation() -> Error {
    Error::invalid("no rotation configuration found")
}

fn finished(new: &NewShares) -> Value {
    let keys = new.shares();
    let hex: Vec<_> = keys.iter().map(|key| hex::encode(key.expose())).collect();
    let base64: Vec<_> = keys.iter().map(|key| STANDARD.encode(key.expose())).collect();
    json!({
        "complete": true,
        "keys": hex,
        "keys_base64": base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": false,
        "verification_nonce": "",
    })
}
