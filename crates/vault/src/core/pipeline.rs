//! One request from beginning to end.
//!
//! 1. The path is checked, routed, and given its one spelling; rate limits are asked.
//! 2. The token is looked up, its addresses are checked, and one use is taken off.
//! 3. The policies decide.
//! 4. The request is written to the audit log.
//! 5. The backend answers.
//! 6. A lease or a token is made of what it asks for.
//! 7. The answer is wrapped.
//! 8. The answer is written to the audit log; whatever it carries is revoked where that fails.
//!
//! **Invariant**: nothing reaches a backend before 3 and 4, and nothing leaves before 8.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use holdfast_logical::{Caller, Error, LookedAt, Operation, Request, Response};
use holdfast_types::SecretString;
use tracing::Span;

use super::access::Access;
use super::answer::{Answer, failure, failure_text};
use super::audit;
use super::invocation::{Invocation, caller};
use super::limits;
use super::path;
use super::settle;
use super::timing;
use super::vault::Vault;
use super::wrapping;
use crate::audit::{AuthRecord, RequestRecord, ResponseRecord, Shown};
use crate::denials::{self, Judgement, Pending, Why, mask};
use crate::identity::Who;
use crate::lockout::Attempt;
use crate::mounts::{Mount, MountClass, MountConfig, Target, is_among};
use crate::sys;
use crate::tokens::{Token, Use, revoke_tree};
use crate::wire::{Incoming, Outgoing, Verb};

/// Answers a request. What it finds out goes into the span that it is in.
pub(super) async fn serve(vault: &Arc<Vault>, incoming: Incoming) -> Outgoing {
    let began = Instant::now();
    let outgoing = serve_timed(vault, incoming).await;
    vault.metrics.requests.record(began, Instant::now());
    outgoing
}

async fn serve_timed(vault: &Arc<Vault>, mut incoming: Incoming) -> Outgoing {
    let came = tokio::time::Instant::now();
    let path = match path::check(&incoming.path, incoming.verb) {
        Ok(path) => path,
        Err(refusal) => return refusal,
    };
    let mount = vault.mounts.route(&path);
    if let Some(mount) = &mount {
        Span::current().record("mount", mount.info.path.as_str());
    }
    // Before policies and audit see it: they are to judge what the backend will do.
    let path = match &mount {
        Some(mount) => mount.canonical(path),
        None => path,
    };
    let record = RequestRecord {
        time: vault.clock.now(),
        id: incoming.id.clone(),
        operation: path::operation(incoming.verb),
        path: path.clone(),
        data: incoming.data.clone(),
        mount: mount.as_ref().map(|mount| mount.info.clone()),
        connection: incoming.connection.clone(),
        shown: shown(vault, mount.as_deref(), &incoming.headers),
        headers: std::mem::take(&mut incoming.headers),
        wrap_ttl: incoming.wrap_ttl.map_or(0, |ttl| ttl.as_secs()),
        auth: AuthRecord::default(),
    };
    let granted = match limits::admit(vault, mount.as_deref(), &record, &incoming).await {
        Ok(granted) => granted,
        Err(refused) => return refused,
    };
    let mut flow =
        Flow { vault, incoming, path, mount, record, is_open: false, last_use: None, why: None };
    let mut outgoing = flow.run().await;
    outgoing.headers.extend(granted);
    if outgoing.status == 403 || (outgoing.status == 400 && flow.is_refused()) {
        flow.explain(&mut outgoing);
    }
    if let Some(token) = flow.last_use
        && let Err(error) = revoke_tree(vault, token.hash).await
    {
        // It has no uses left, so that it is not valid either way.
        tracing::warn!(error = %super::answer::Chain(&error), "revoke a used-up token");
    }
    // A failed login is a refusal, too, whatever its status.
    if outgoing.status == 403 || (flow.is_open && outgoing.status >= 400) {
        timing::even(came).await;
    }
    outgoing
}

/// What audit is to show of this request beyond the usual.
fn shown(
    vault: &Vault,
    mount: Option<&Mount>,
    headers: &BTreeMap<String, String>,
) -> Option<Box<Shown>> {
    let audited = vault.settings.audited();
    let config = mount.map(|mount| &mount.entry.config);
    let keys = |pick: fn(&MountConfig) -> &Vec<String>| config.map(pick).filter(|k| !k.is_empty());
    let request_keys = keys(|config| &config.audit_non_hmac_request_keys);
    let response_keys = keys(|config| &config.audit_non_hmac_response_keys);
    if audited.0.is_empty() && request_keys.is_none() && response_keys.is_none() {
        return None;
    }
    let among = audited.among(headers);
    Some(Box::new(Shown {
        request_keys: request_keys.cloned().unwrap_or_default(),
        response_keys: response_keys.cloned().unwrap_or_default(),
        headers: among.map(|(name, value, hmac)| (name.into(), value.into(), hmac)).collect(),
    }))
}

/// A request on its way.
struct Flow<'v> {
    vault: &'v Arc<Vault>,
    incoming: Incoming,
    path: String,
    mount: Option<Arc<Mount>>,
    record: RequestRecord,
    /// Whether the path is one that needs no token.
    is_open: bool,
    /// The token whose last use this is.
    last_use: Option<Arc<Token>>,
    /// What refused it.
    why: Option<Why>,
}

/// A refusal before any backend saw the request.
enum Refusal {
    /// Written to the audit log with these words, and answered so.
    Error(Error),
    /// 403 without saying more: no token, or one that is not valid.
    NoToken,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<holdfast_barrier::EntryError> for Refusal {
    fn from(error: holdfast_barrier::EntryError) -> Self {
        Self::Error(error.into())
    }
}

impl Flow<'_> {
    async fn run(&mut self) -> Outgoing {
        let invocation = match self.admit().await {
            Ok(invocation) => invocation,
            Err(refusal) => return self.refuse(refusal).await,
        };
        if audit::request(self.vault, &self.record).await.is_err() {
            return audit_failed(&self.record.id);
        }
        let Some(mount) = self.mount.clone() else {
            let words = format!("no handler for route {:?}. route entry not found.", self.path);
            return self.fail(&Error::Status { status: 404, message: words }).await;
        };
        if self.incoming.verb == Verb::Help {
            return self.help(&mount, &invocation.request.path).await;
        }
        let attempt = match self.is_open {
            true => Attempt::of(self.vault, &mount, &invocation.request),
            false => None,
        };
        if let Some(Err(error)) = attempt.as_ref().map(Attempt::admit) {
            return self.fail(&error).await;
        }
        let began = Instant::now();
        let answer = dispatch(self.vault, &mount, &invocation).await;
        self.count(&mount, &invocation.request, began);
        let answer = match attempt {
            Some(attempt) => attempt.answered(answer),
            None => answer,
        };
        let answer = match answer {
            Ok(answer) => with_field_warnings(answer, &mount, &invocation.request),
            Err(error) => return self.fail(&error).await,
        };
        let settling = settle::Settling {
            vault: self.vault,
            mount: &mount,
            invocation: &invocation,
            record: &self.record,
            is_last_use: self.last_use.is_some(),
        };
        match settling.settle(answer).await {
            Ok(outgoing) => outgoing,
            Err(error) => self.fail(&error).await,
        }
    }

    /// Counts what a mount has answered.
    fn count(&self, mount: &Mount, request: &Request, began: Instant) {
        let (metrics, now) = (&self.vault.metrics, Instant::now());
        metrics.routed(request.operation.as_str(), &mount.info.path, began, now);
        if self.is_open && matches!(mount.target, Target::Backend(_)) {
            metrics.logins.record(began, now);
        }
    }

    /// Who asks, and whether they may.
    async fn admit(&mut self) -> Result<Invocation, Refusal> {
        let vault = self.vault;
        let below = self.below().to_owned();
        if ["sys/wrapping/unwrap", "sys/wrapping/rewrap", "sys/wrapping/lookup"]
            .contains(&self.path.as_str())
        {
            self.open_wrapping_jwt().await?;
        }
        if self.is_at("sys/wrapping/unwrap") || self.is_at("sys/wrapping/rewrap") {
            wrapping::validate(vault, self.wrapped_token().as_deref()).await?;
        }
        let is_open =
            self.mount.as_ref().is_some_and(|m| is_among(&m.special.unauthenticated, &below));
        self.is_open = is_open;
        let own = self.mount.as_ref().is_some_and(|m| matches!(m.target, Target::System));
        let secret = self.incoming.token.clone().filter(|token| !token.expose().is_empty());

        // A login method's open paths never learn of a token; the server's own use one if it is
        // there.
        let token = match &secret {
            Some(secret) if !is_open || own => vault.tokens.lookup(secret.expose()).await?,
            _ => None,
        };
        let Some(token) = token else {
            let lookup = self.is_at("sys/wrapping/lookup");
            if !is_open || (own && secret.is_some() && !lookup) {
                self.why = Some(self.bad_token(secret.as_ref()));
                return Err(Refusal::NoToken);
            }
            let request = self.request(None, path::operation(self.incoming.verb));
            return Ok(Invocation { request, token: None, secret, sudo: false });
        };
        let who = vault.identity.who(&token.entry.entity_id).await?;
        self.note_caller(&token, &who, secret.as_ref());
        if !who.is_good() {
            self.why = Some(Why::Entity);
            return Err(Refusal::NoToken);
        }
        if !is_bound_here(&token, self.incoming.connection.remote_address) {
            self.why = Some(Why::Elsewhere(token.entry.bound_cidrs.clone()));
            return Err(Refusal::NoToken);
        }
        self.take_use(&token).await?;
        let caller = caller(&token, &who);
        let mut request = self.request(Some(caller), path::operation(self.incoming.verb));
        let sudo = match is_open {
            true => token.entry.is_root(),
            false => self.authorise(&token, &who, &mut request, &below).await?,
        };
        Ok(Invocation { request, token: Some(token), secret, sudo })
    }

    /// A wrapping token may come in a JWT.
    async fn open_wrapping_jwt(&mut self) -> Result<(), Refusal> {
        if let Some(token) = &self.incoming.token {
            let opened = wrapping::open(self.vault, token.expose()).await?;
            self.incoming.token = Some(SecretString::new(opened));
        }
        if let Some(serde_json::Value::String(token)) = self.incoming.data.get_mut("token") {
            *token = wrapping::open(self.vault, token).await?;
        }
        Ok(())
    }

    /// Lets the policies decide. Returns whether the caller has root privileges here.
    async fn authorise(
        &mut self,
        token: &Token,
        who: &Who,
        request: &mut Request,
        below: &str,
    ) -> Result<bool, Refusal> {
        let acl = match super::acl::acl_for(self.vault, token, who) {
            Ok(acl) => acl,
            Err(error) => {
                self.why = Some(Why::Unreadable(super::answer::Chain(&error).to_string()));
                return Err(Error::from(error).into());
            }
        };
        let needs_sudo = self.mount.as_ref().is_some_and(|m| is_among(&m.special.sudo, below));
        let access = Access { vault: self.vault, acl: &acl.acl, path: &self.path, needs_sudo };
        let decided = access.decide(self.mount.as_deref(), request, self.incoming.verb).await?;
        self.record.operation = request.operation;
        self.record.auth.allowed = Some(decided.allowed);
        self.record.auth.granting_policies = decided.granting;
        if !decided.allowed {
            let deciding = acl.acl.find(&self.path, request.operation == Operation::List);
            let concerned = deciding.map(|rule| rule.concerned(&request.data)).unwrap_or_default();
            let judgement = Judgement::new(acl, decided.verdict, needs_sudo, &concerned);
            self.why = Some(Why::Policies(Box::new(judgement)));
            return Err(Refusal::Error(Error::Denied));
        }
        if let Some(limit) = decided.limit {
            request.data.insert("limit".to_owned(), limit.into());
        }
        Ok(decided.sudo)
    }

    /// Takes one use off a token that has a number of them.
    async fn take_use(&mut self, token: &Arc<Token>) -> Result<(), Refusal> {
        if token.entry.uses.is_none() {
            return Ok(());
        }
        // Unwrapping takes the use itself, together with the answer.
        if wrapping::is_wrapping(token) && self.path.starts_with("sys/wrapping/") {
            return Ok(());
        }
        match self.vault.tokens.spend(token).await? {
            Use::Granted => Ok(()),
            Use::Last => {
                self.last_use = Some(token.clone());
                Ok(())
            }
            Use::Refused => {
                self.why = Some(Why::UsedUp);
                Err(Refusal::NoToken)
            }
        }
    }

    /// Whether a request that is answered as if it were at fault was refused: a login, or one of a
    /// token whose policies cannot be read.
    fn is_refused(&self) -> bool {
        self.is_login() || matches!(self.why, Some(Why::Unreadable(_)))
    }

    /// Whether somebody asks for a token by other means than a token.
    fn is_login(&self) -> bool {
        let auth = |mount: &Arc<Mount>| mount.entry.class == MountClass::Auth;
        self.is_open && self.mount.as_ref().is_some_and(auth)
    }

    /// What there is to know of a token that is not valid, without looking for it again.
    fn bad_token(&self, secret: Option<&SecretString>) -> Why {
        let Some(secret) = secret else { return Why::NoToken };
        let tokens = &self.vault.tokens;
        match tokens.open_batch(secret.expose()) {
            Some(entry) => Why::BadBatchToken(Box::new(entry)),
            None => Why::BadToken(tokens.hash(secret.expose())),
        }
    }

    /// Keeps why the request was refused, and gives the answer the id to ask for it by.
    fn explain(&mut self, outgoing: &mut Outgoing) {
        let record = &mut self.record;
        let said = Why::Backend { said: String::new(), reason: None };
        let why = self.why.take().unwrap_or(said);
        let own = self.incoming.token.as_ref().map(|token| token.expose().as_str());
        let (path, masked) = mask(&record.path, own.filter(|token| !token.is_empty()));
        let auth = std::mem::take(&mut record.auth);
        let mount = record.mount.take().unwrap_or_default();
        let version = mount.options.get("version").map(String::as_str);
        let pending = Pending {
            at: record.time,
            who: denials::Who {
                accessor: auth.accessor,
                display_name: auth.display_name,
                entity_id: auth.entity_id,
                metadata: auth.metadata,
                policies: auth.policies,
                token_type: auth.token_type,
            },
            operation: record.operation,
            path,
            masked,
            kv_version_2: mount.kind == "kv" && version == Some("2"),
            mount_kind: mount.kind.clone(),
            mount_path: mount.path.clone(),
            remote_address: record.connection.remote_address,
            wrap_ttl: self.incoming.wrap_ttl,
            status: outgoing.status,
            why,
        };
        self.vault.denials.note(&record.id, pending);
        outgoing.headers.push((denials::HEADER, record.id.clone()));
    }

    fn is_at(&self, path: &str) -> bool {
        self.path == path && self.mount.is_some()
    }

    /// The path below the mount.
    fn below(&self) -> &str {
        let Some(mount) = &self.mount else { return "" };
        self.path.strip_prefix(mount.info.path.as_str()).unwrap_or_default()
    }

    /// The token to be unwrapped: the body's, or else the request's.
    fn wrapped_token(&self) -> Option<String> {
        wrapped_token(&self.incoming.data, self.incoming.token.as_ref())
    }

    fn note_caller(&mut self, token: &Token, who: &Who, secret: Option<&SecretString>) {
        let entry = &token.entry;
        Span::current().record("caller.accessor", entry.accessor.as_str());
        self.record.auth = AuthRecord {
            client_token: secret.cloned(),
            accessor: entry.accessor.clone(),
            display_name: entry.display_name.clone(),
            policies: who.with(&entry.policies),
            token_policies: entry.policies.clone(),
            identity_policies: who.sorted_policies(),
            metadata: entry.meta.clone(),
            entity_id: entry.entity_id.clone(),
            token_type: entry.kind.as_str().to_owned(),
            token_ttl: entry.creation_ttl.as_secs(),
            token_issue_time: Some(entry.issued_at),
            allowed: None,
            granting_policies: Vec::new(),
        };
    }

    fn request(&mut self, caller: Option<Caller>, operation: Operation) -> Request {
        let info = self.mount.as_ref().map(|mount| mount.info.clone()).unwrap_or_default();
        Request {
            id: self.incoming.id.clone(),
            operation,
            path: self.below().to_owned(),
            mount: info,
            data: std::mem::take(&mut self.incoming.data),
            caller,
            connection: self.incoming.connection.clone(),
            headers: self.passed_headers(),
            wrap_ttl: self.incoming.wrap_ttl,
            looked_at: LookedAt::default(),
        }
    }

    /// The header fields that the mount asked for, and the content type. The bearer token is among
    /// them at a login alone, where it is no token of ours.
    fn passed_headers(&self) -> BTreeMap<String, String> {
        let config = self.mount.as_ref().map(|mount| &mount.entry.config);
        let wanted = config.map(|config| config.passthrough_request_headers.as_slice());
        let is_asked = |name: &str| {
            wanted.unwrap_or_default().iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let headers = self.record.headers.iter();
        let passed = headers.filter(|(name, _)| *name == "content-type" || is_asked(name));
        let mut passed: BTreeMap<_, _> =
            passed.map(|(name, value)| (name.clone(), value.clone())).collect();
        if self.is_login()
            && self.incoming.is_bearer
            && is_asked("authorization")
            && let Some(token) = &self.incoming.token
        {
            passed.insert("authorization".to_owned(), format!("Bearer {}", token.expose()));
        }
        passed
    }

    async fn help(&mut self, mount: &Mount, below: &str) -> Outgoing {
        let help = sys::help::answer(mount, below);
        let Some(help) = help else { return self.fail(&Error::UnsupportedPath).await };
        let response = ResponseRecord::default();
        if audit::response(self.vault, &self.record, &response).await.is_err() {
            return audit_failed(&self.record.id);
        }
        Outgoing::json(200, help)
    }

    /// Writes down a refusal, and answers it.
    async fn refuse(&mut self, refusal: Refusal) -> Outgoing {
        if audit::request(self.vault, &self.record).await.is_err() {
            return audit_failed(&self.record.id);
        }
        match refusal {
            Refusal::Error(error) => self.fail(&error).await,
            Refusal::NoToken => {
                let outgoing = self.fail(&Error::Denied).await;
                match outgoing.status {
                    403 => Outgoing::errors(403, ["permission denied"]),
                    _ => outgoing,
                }
            }
        }
    }

    /// Writes down a failure, and answers it.
    async fn fail(&mut self, error: &Error) -> Outgoing {
        if self.why.is_none() {
            self.why = match error {
                Error::Refused { told, reason, advice } => Some(Why::Backend {
                    said: told.to_string(),
                    reason: Some((reason.clone(), advice.clone())),
                }),
                Error::Denied
                | Error::Invalid(_)
                | Error::Credentials(_)
                | Error::Status { status: 403, .. } => {
                    Some(Why::Backend { said: error.to_string(), reason: None })
                }
                _ => None,
            };
        }
        let response =
            ResponseRecord { error: Some(failure_text(error)), ..ResponseRecord::default() };
        if audit::response(self.vault, &self.record, &response).await.is_err() {
            return audit_failed(&self.record.id);
        }
        match error.told() {
            // Where no token is needed, OpenBao does not wrap these.
            Error::Denied if self.is_open => Outgoing::errors(403, ["permission denied"]),
            Error::UnsupportedOperation if self.is_open => {
                Outgoing::errors(405, ["unsupported operation"])
            }
            Error::UnsupportedPath if self.is_open => Outgoing::errors(404, ["unsupported path"]),
            error => failure(&self.record.id, error),
        }
    }
}

/// What a client reads when no audit device can write.
pub(super) fn audit_failed(id: &str) -> Outgoing {
    failure(id, &Error::internal("write the audit log", crate::audit::AuditError))
}

/// The token that `sys/wrapping/` is asked about: the body's, or else the request's own.
pub(crate) fn wrapped_token(
    data: &serde_json::Map<String, serde_json::Value>,
    own: Option<&SecretString>,
) -> Option<String> {
    let named = data.get("token").and_then(serde_json::Value::as_str);
    let named = named.filter(|token| !token.is_empty()).map(str::to_owned);
    named.or_else(|| own.map(|token| token.expose().clone()))
}

/// Whether the token may be used from `address`.
fn is_bound_here(token: &Token, address: Option<IpAddr>) -> bool {
    let cidrs = &token.entry.bound_cidrs;
    // An IPv4 client of an IPv6 socket has a mapped address.
    cidrs.is_empty()
        || address.is_some_and(|address| {
            let address = address.to_canonical();
            cidrs.iter().any(|net| net.contains(&address))
        })
}

/// The answer with what its client should know of the fields it sent. OpenBao warns wherever it has
/// an answer at all, which a list always is.
fn with_field_warnings(mut answer: Answer, mount: &Mount, request: &Request) -> Answer {
    if request.data.is_empty() {
        return answer;
    }
    let is_list = request.operation == Operation::List;
    let is_made = answer.token.is_some() || answer.lease.is_some() || is_list;
    if answer.envelope.is_some() || answer.wrap.is_some() {
        return answer;
    }
    let bare = answer.response.as_ref().is_none_or(|r| r.status.is_none() && r.raw.is_none());
    if !bare || (answer.response.is_none() && !is_made) {
        return answer;
    }
    if let Some(route) = mount.routes().iter().find(|route| route.matches(&request.path)) {
        let fields = request.fields();
        route.fields.iter().for_each(|field| _ = fields.known(&[field.name]));
        route.parameters().for_each(|name| _ = fields.in_path(&[name]));
    }
    let warnings = request.field_warnings();
    if !warnings.is_empty() {
        let response = answer.response.get_or_insert_with(|| Response::data(serde_json::json!({})));
        response.warnings.extend(warnings);
    }
    answer
}

async fn dispatch(
    vault: &Arc<Vault>,
    mount: &Mount,
    invocation: &Invocation,
) -> Result<Answer, Error> {
    match &mount.target {
        Target::System => sys::handle(vault, invocation).await,
        Target::Token => crate::tokens::handle(vault, invocation).await,
        Target::Identity => crate::identity::handle(vault, invocation).await,
        Target::Backend(backend) => {
            let request = &invocation.request;
            if let Some(token) = &invocation.token
                && wrapping::is_wrapping(token)
                && mount.info.kind == "cubbyhole"
                && (request.path.as_str(), request.operation) == ("response", Operation::Read)
            {
                return wrapping::old_style(vault, token).await;
            }
            let response = backend.handle(request).await?;
            if vault.events.is_heard()
                && let Some(event) = backend.event(request, response.as_ref())
            {
                vault.events.publish(&mount.info, event);
            }
            Ok(response.into())
        }
    }
}
