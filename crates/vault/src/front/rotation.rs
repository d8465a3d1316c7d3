//! `sys/rotate/root/...` and `sys/rotate/recovery/...`: new shares for the old.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::{Barrier, SharePlan};
use holdfast_logical::{Error, Operation, Reply, Request, Response};
use holdfast_types::{Random, SecretBytes};
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
                *self.attempt.lock().await = None;
                Ok(None)
            }
            ("init", operation) if operation.is_write() => self.begin(request).await,
            ("update", operation) if operation.is_write() => self.submit(request).await,
            ("verify", operation) if operation.is_write() => match request.fields().has("key") {
                true => Err(no_rotation()),
                false => Err(Error::invalid("missing required field 'key'")),
            },
            // New shares are never held back until they were shown: there is nothing to verify.
            ("verify", Operation::Read | Operation::Delete) => Err(no_rotation()),
            ("init" | "update" | "verify", _) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    async fn begin(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let shares = fields.integer("secret_shares")?.unwrap_or_default();
        let threshold = fields.integer("secret_threshold")?.unwrap_or_default();
        for unsupported in ["require_verification", "backup"] {
            if fields.bool(unsupported)? == Some(true) {
                return Err(Error::invalid(format!("{unsupported} is not supported")));
            }
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
            let keys = self.barrier.rekey(plan).await?;
            let mut body = finished(&keys);
            body["n"] = plan.shares().into();
            body["t"] = plan.threshold().into();
            return Ok(Some(Response::data(body)));
        }
        *attempt = Some(Attempt { plan, quorum: Quorum::new(&*self.random) });
        Ok(Some(self.status(&attempt)))
    }

    async fn submit(&self, request: &Request) -> Reply {
        let mut slot = self.attempt.lock().await;
        let Some(attempt) = slot.as_mut() else {
            return Err(Error::invalid("no rotation in progress"));
        };
        let complete =
            attempt.quorum.submit(request, "rotation", &self.barrier, &*self.random).await?;
        if !complete {
            return Ok(Some(self.status(&slot)));
        }
        let keys = self.barrier.rekey(attempt.plan).await?;
        let mut body = finished(&keys);
        body["nonce"] = attempt.quorum.nonce.clone().into();
        *slot = None;
        Ok(Some(Response::data(body)))
    }

    fn status(&self, attempt: &Option<Attempt>) -> Response {
        let required = Quorum::required(&self.barrier);
        Response::data(match attempt {
            None => json!({ "started": false, "t": 0, "n": 0, "required": required }),
            Some(Attempt { plan, quorum }) => json!({
                "started": true,
                "t": plan.threshold(),
                "n": plan.shares(),
                "nonce": quorum.nonce,
                "progress": quorum.progress(),
                "required": required,
                "verification_required": false,
                "verification_nonce": "",
            }),
        })
    }
}

fn no_rotation() -> Error {
    Error::invalid("no rotation configuration found")
}

fn finished(keys: &[SecretBytes]) -> Value {
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
