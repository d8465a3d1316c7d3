//! From what a backend answered to what leaves: lease or token, wrapping, audit.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::{Auth, Error, Lease, LeaseSpec, Operation, Response, TokenKind};
use serde_json::Value;
use tracing::error;

use super::answer::{
    Answer, Chain, LeaseAnswer, TokenAnswer, envelope, found_nothing, raw, wrapped_envelope,
};
use super::audit;
use super::invocation::Invocation;
use super::pipeline::audit_failed;
use super::vault::Vault;
use super::wrapping::{self, WrapFormat, WrapInfo};
use crate::audit::{AuthRecord, RequestRecord, ResponseRecord};
use crate::mounts::{Mount, MountClass};
use crate::tokens::{LoggedIn, LoginRequest, create_login, revoke_tree};
use crate::wire::{Outgoing, OutgoingBody};

/// What an answer is settled with.
pub(super) struct Settling<'a> {
    pub vault: &'a Arc<Vault>,
    pub mount: &'a Mount,
    pub invocation: &'a Invocation,
    pub record: &'a RequestRecord,
    /// Whether the token of the request ends with it.
    pub is_last_use: bool,
}

/// What is taken back where the answer cannot be sent.
#[derive(Default)]
struct Carried {
    lease: Option<String>,
    token: Option<crate::tokens::TokenHash>,
    wrapping: Option<crate::tokens::TokenHash>,
}

impl Settling<'_> {
    /// Makes the answer that leaves.
    ///
    /// # Errors
    /// A lease or a token could not be made; what the backend had made for it is taken back.
    pub(super) async fn settle(&self, mut answer: Answer) -> Result<Outgoing, Error> {
        let operation = self.invocation.request.operation;
        let mut carried = Carried::default();
        let mut lease = answer.lease.take().unwrap_or_default();
        if let Some(response) = &mut answer.response {
            if let Some(auth) = response.auth.take() {
                answer.token = Some(self.log_in(auth, &mut response.warnings).await?);
            }
            if let Some(spec) = response.lease.take() {
                lease = self.lease(spec, &mut response.warnings).await?;
                carried.lease = Some(lease.id.clone());
            } else if let Some(ttl) = response.ttl {
                lease.seconds = ttl.as_secs();
            }
        }
        if let Some(token) = answer.token.as_ref().filter(|token| token.fresh) {
            carried.token = token.hash;
        }
        match self.finish(answer, &lease, operation, &mut carried).await {
            Ok(outgoing) => Ok(outgoing),
            Err(failed) => {
                self.take_back(carried).await;
                match failed {
                    Some(error) => Err(error),
                    None => Ok(audit_failed(&self.record.id)),
                }
            }
        }
    }

    /// Wraps, writes down, and forms the body. An error of none is the audit log's.
    async fn finish(
        &self,
        answer: Answer,
        lease: &LeaseAnswer,
        operation: Operation,
        carried: &mut Carried,
    ) -> Result<Outgoing, Option<Error>> {
        let Answer { response, token, envelope: ready, wrap, ongoing, .. } = answer;
        if let Some(body) = ongoing {
            self.write_down(&ResponseRecord::default()).await?;
            let status = if matches!(body, OutgoingBody::Messages(_)) { 101 } else { 200 };
            return Ok(Outgoing { status, body, headers: Vec::new() });
        }
        let nothing = token.is_none() && ready.is_none() && lease.id.is_empty();
        if response.is_none() && nothing {
            self.write_down(&ResponseRecord::default()).await?;
            return Ok(match operation {
                Operation::Read | Operation::List | Operation::Scan => {
                    Outgoing::errors(404, Vec::<String>::new())
                }
                _ => Outgoing::empty(),
            });
        }
        let missing = nothing && found_nothing(operation, response.as_ref());
        let mut response = response.unwrap_or_default();
        // Whoever says 200 in so many words wants the envelope, though nothing is in it.
        let is_bare =
            response.data.is_none() && response.warnings.is_empty() && response.status != Some(200);
        let accessor = wrapped_accessor(token.as_ref(), &response);
        let mut written = ResponseRecord {
            // Lent: the answer gets it back.
            data: response.data.take(),
            auth: token.as_ref().map(audit_auth),
            lease_id: Some(lease.id.clone()).filter(|id| !id.is_empty()),
            wrap: None,
            warnings: response.warnings.clone(),
            error: None,
        };
        if let Some(body) = response.raw.take() {
            self.write_down(&written).await?;
            return Ok(raw(response.status.unwrap_or(200), body));
        }
        let status = response.status.unwrap_or(if missing { 404 } else { 200 });
        if nothing && is_bare {
            self.write_down(&written).await?;
            return Ok(match (missing, response.status) {
                (true, None) => Outgoing::errors(404, Vec::<String>::new()),
                (_, Some(status)) => {
                    Outgoing { status, body: OutgoingBody::Empty, headers: Vec::new() }
                }
                (false, None) => Outgoing::empty(),
            });
        }
        let asked = self.invocation.request.wrap_ttl.filter(|ttl| !ttl.is_zero() && status < 400);
        let wrap = wrap.or(asked.map(|ttl| (ttl, self.record.path.clone())));
        if wrap.is_none() {
            self.write_down(&written).await?;
        }
        response.data = written.data.take();
        let body = match ready {
            Some(ready) => ready,
            None => envelope(&self.record.id, &mut response, token.as_ref(), lease),
        };
        let Some((ttl, path)) = wrap else { return Ok(Outgoing::json(status, body)) };
        let info = self.wrap(body, ttl, &path, accessor).await.map_err(Some)?;
        carried.wrapping = Some(info.hash);
        let wrap = Some(info.to_record());
        self.write_down(&ResponseRecord { wrap, ..ResponseRecord::default() }).await?;
        Ok(Outgoing::json(status, wrapped_envelope(&info)))
    }

    async fn wrap(
        &self,
        body: Value,
        ttl: Duration,
        path: &str,
        accessor: String,
    ) -> Result<WrapInfo, Error> {
        let asked = self.record.headers.get("x-vault-wrap-format");
        let format = match asked.map(String::as_str) {
            Some("jwt") => WrapFormat::Jwt,
            _ => WrapFormat::Token,
        };
        wrapping::wrap(self.vault, body, ttl, path, accessor, format).await
    }

    async fn write_down(&self, response: &ResponseRecord) -> Result<(), Option<Error>> {
        audit::response(self.vault, self.record, response).await.map_err(|_| None)
    }

    async fn log_in(&self, auth: Auth, warnings: &mut Vec<String>) -> Result<TokenAnswer, Error> {
        if self.mount.entry.class != MountClass::Auth {
            let words = "an engine asked for a token";
            return Err(Error::internal("answer a request", words));
        }
        let LoggedIn { created, identity_policies, warnings: more } = create_login(
            self.vault,
            LoginRequest {
                auth,
                mount: &self.mount.info,
                local: self.mount.entry.local,
                mount_token_type: self.mount.entry.token_kind(),
                path: &self.record.path,
                remote_address: self.record.connection.remote_address,
            },
        )
        .await?;
        warnings.extend(more);
        Ok(TokenAnswer {
            token: created.token,
            hash: created.hash,
            entry: created.entry,
            identity_policies,
            fresh: true,
        })
    }

    /// Makes a lease on what the backend made. Where that fails, the backend takes it back.
    async fn lease(
        &self,
        mut spec: LeaseSpec,
        warnings: &mut Vec<String>,
    ) -> Result<LeaseAnswer, Error> {
        let leases = &self.vault.leases;
        let settles = std::mem::take(&mut spec.settles);
        let token = self.invocation.token.as_ref();
        let (owner, ends_by) = match token {
            // A batch token dies by time alone, or with its parent.
            Some(token) if token.entry.kind == TokenKind::Batch => {
                (token.entry.parent, token.entry.expires_at)
            }
            Some(token) => (Some(token.hash), None),
            None => (None, None),
        };
        let lease = leases.plan(&self.record.path, &self.mount.info, &spec, owner, ends_by)?;
        let made = Lease {
            id: lease.id.clone(),
            path: self.invocation.request.path.clone(),
            internal: lease.record.internal.clone(),
            issued_at: lease.record.issued_at,
            expires_at: lease.record.expires_at,
        };
        if self.is_last_use {
            self.undo(&made).await;
            return Err(Error::invalid(
                "Secret cannot be returned; token had one use left, so leased credentials were \
                 immediately revoked.",
            ));
        }
        // Held until the lease is written: the token cannot be revoked in between.
        let held = match owner {
            None => None,
            Some(owner) => match self.vault.tokens.hold(owner).await {
                Ok(Some(guard)) => Some(guard),
                Ok(None) => {
                    self.undo(&made).await;
                    return Err(Error::Denied);
                }
                Err(error) => {
                    self.undo(&made).await;
                    return Err(error.into());
                }
            },
        };
        let written = leases.create(&lease, settles).await;
        drop(held);
        if let Err(error) = written {
            self.undo(&made).await;
            return Err(error.into());
        }
        self.vault.events.lease("lease/issue", &self.mount.info, &made.path, &lease.id);
        warnings.extend(lease.warning);
        Ok(LeaseAnswer {
            id: lease.id,
            renewable: lease.record.renewable,
            seconds: lease.record.ttl.as_secs(),
        })
    }

    /// Lets the backend take back what has no lease. Where it cannot, its own write-ahead record
    /// is what is left.
    async fn undo(&self, made: &Lease) {
        let Some(backend) = self.mount.backend() else { return };
        if let Err(failed) = backend.revoke(made).await {
            error!(lease = made.id, error = %Chain(&failed), "take back what has no lease");
        }
    }

    /// Revokes what an answer carried that is not sent.
    async fn take_back(&self, carried: Carried) {
        let mut failed = Vec::new();
        if let Some(id) = &carried.lease {
            failed.extend(self.vault.leases.expire(id).await.err().map(Error::from));
        }
        for hash in carried.token.into_iter().chain(carried.wrapping) {
            failed.extend(revoke_tree(self.vault, hash).await.err());
        }
        for failed in failed {
            error!(error = %Chain(&failed), "revoke what could not be sent");
        }
    }
}

fn audit_auth(token: &TokenAnswer) -> AuthRecord {
    let entry = &token.entry;
    AuthRecord {
        client_token: Some(token.token.clone()).filter(|token| !token.expose().is_empty()),
        accessor: entry.accessor.clone(),
        display_name: entry.display_name.clone(),
        policies: token.policies(),
        token_policies: entry.policies.clone(),
        identity_policies: token.identity_policies.clone(),
        metadata: entry.meta.clone(),
        entity_id: entry.entity_id.clone(),
        token_type: entry.kind.as_str().to_owned(),
        token_ttl: entry.ttl.as_secs(),
        token_issue_time: Some(entry.issued_at),
        allowed: None,
        granting_policies: Vec::new(),
    }
}

/// What names the wrapped thing without being it.
fn wrapped_accessor(token: Option<&TokenAnswer>, response: &Response) -> String {
    if let Some(token) = token {
        return token.entry.accessor.clone();
    }
    let data = response.data.as_ref();
    let accessor = data.and_then(|data| data.get("secret_id_accessor")).and_then(Value::as_str);
    accessor.unwrap_or_default().to_owned()
}
