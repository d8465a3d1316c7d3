//! Answers that wait for whoever holds a token of one use.
//!
//! `sys/wrap/<hash of the wrapping token>` holds a [`WrappedRecord`], written with the token in one
//! commit and removed with it. Which of two that unwrap at once gets the answer is decided by the
//! token's one use.

use std::time::Duration;

use holdfast_barrier::{Batch, EntryError, View};
use holdfast_logical::{Error, Response, TokenKind};
use holdfast_types::{SecretString, Timestamp, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Answer;
use super::vault::Vault;
pub(crate) use super::wrapping_jwt::WrapFormat;
use super::wrapping_jwt::{Claims, Signer};
use crate::audit::WrapRecord;
use crate::tokens::params::after;
use crate::tokens::{Token, TokenEntry, TokenHash, Use, revoke_tree, root_entry};

/// The policy that makes a token a wrapping token.
pub(crate) const POLICY: &str = "response-wrapping";

const NOT_VALID: &str = "wrapping token is not valid or does not exist";

/// A wrapped answer as stored.
#[derive(Serialize, Deserialize)]
struct WrappedRecord {
    /// The whole envelope.
    envelope: Value,
    creation_path: String,
    creation_time: Timestamp,
    ttl: Duration,
    /// The accessor of the token inside, or of the `secret_id`; empty for all else.
    #[serde(default)]
    wrapped_accessor: String,
}

/// All wrapped answers.
pub(crate) struct Wrapped(View, Signer);

/// What the client gets in place of the answer.
pub(crate) struct WrapInfo {
    pub token: SecretString,
    pub hash: TokenHash,
    pub accessor: String,
    pub ttl: Duration,
    pub creation_time: Timestamp,
    pub creation_path: String,
    pub wrapped_accessor: String,
}

impl WrapInfo {
    /// `wrap_info` of the envelope.
    pub(crate) fn to_wire(&self) -> Value {
        let mut info = json!({
            "token": self.token.expose(),
            "accessor": self.accessor,
            "ttl": self.ttl.as_secs(),
            "creation_time": rfc3339(self.creation_time),
            "creation_path": self.creation_path,
        });
        if !self.wrapped_accessor.is_empty() {
            info["wrapped_accessor"] = json!(self.wrapped_accessor);
        }
        info
    }

    /// What the audit log notes.
    pub(crate) fn to_record(&self) -> WrapRecord {
        WrapRecord {
            token: self.token.clone(),
            accessor: self.accessor.clone(),
            ttl: self.ttl.as_secs(),
            creation_time: Some(self.creation_time),
            creation_path: self.creation_path.clone(),
            wrapped_accessor: self.wrapped_accessor.clone(),
        }
    }
}

impl Wrapped {
    pub(crate) fn new(root: &View) -> Self {
        Self(root.sub("sys/wrap/"), Signer::new(root))
    }

    /// Adds to `batch` (full keys) the removal of what the token `hash` wraps.
    pub(crate) fn remove(&self, batch: &mut Batch, hash: TokenHash) {
        let mut own = Batch::new();
        own.delete(hash.to_string());
        batch.append(self.0.absolute(own));
    }

    async fn get(&self, hash: TokenHash) -> Result<Option<WrappedRecord>, EntryError> {
        self.0.get_json(&hash.to_string()).await
    }
}

/// Whether `token` is a wrapping token.
pub(crate) fn is_wrapping(token: &Token) -> bool {
    token.entry.policies == [POLICY]
}

/// Wraps an envelope for `ttl`.
///
/// # Errors
/// The store's.
pub(crate) async fn wrap(
    vault: &Vault,
    envelope: Value,
    ttl: Duration,
    creation_path: &str,
    wrapped_accessor: String,
    format: WrapFormat,
) -> Result<WrapInfo, Error> {
    let now = vault.clock.now();
    let id = format!("s.{}", vault.random.base62(24));
    let hash = vault.tokens.hash(&id);
    let record = WrappedRecord {
        envelope,
        creation_path: creation_path.to_owned(),
        creation_time: now,
        ttl,
        wrapped_accessor,
    };
    let mut batch = Batch::new();
    vault.wrapped.0.batch_json(&mut batch, &hash.to_string(), &record)?;
    let entry = TokenEntry {
        kind: TokenKind::Service,
        policies: vec![POLICY.to_owned()],
        path: creation_path.to_owned(),
        display_name: String::new(),
        uses: Some(1),
        expires_at: Some(after(now, ttl)),
        creation_ttl: ttl,
        ttl,
        explicit_max_ttl: ttl,
        ..root_entry(now)
    };
    let extra = vault.wrapped.0.absolute(batch);
    let created = vault.tokens.create(&vault.leases, entry, Some(&id), extra).await?;
    let token = match format {
        WrapFormat::Token => created.token,
        WrapFormat::Jwt => {
            let claims = Claims {
                accessor: &record.wrapped_accessor,
                address: vault.identity.oidc.api_addr(),
                token: &created.token,
                from: now,
                until: after(now, ttl),
            };
            vault.wrapped.1.sign(&claims).await?
        }
    };
    Ok(WrapInfo {
        token,
        hash,
        accessor: created.entry.accessor,
        ttl,
        creation_time: now,
        creation_path: record.creation_path,
        wrapped_accessor: record.wrapped_accessor,
    })
}

/// Whether `token` wraps an answer: checked before anything else is, as OpenBao does.
///
/// # Errors
/// 400 where it does not, 403 where there is no token at all.
pub(crate) async fn validate(vault: &Vault, token: Option<&str>) -> Result<(), Error> {
    find(vault, token).await.map(|_| ())
}

/// What `sys/wrapping/lookup` says of a wrapping token.
///
/// # Errors
/// As [`validate`].
pub(crate) async fn lookup(vault: &Vault, token: Option<&str>) -> Result<Response, Error> {
    let (_, record) = find(vault, token).await?;
    Ok(Response::data(json!({
        "creation_path": record.creation_path,
        "creation_time": rfc3339(record.creation_time),
        "creation_ttl": record.ttl.as_secs(),
    })))
}

/// The answer that waits, given out once.
///
/// # Errors
/// As [`validate`]; also where somebody else was faster.
pub(crate) async fn unwrap(vault: &Vault, token: Option<&str>) -> Result<Answer, Error> {
    let record = take(vault, token).await?;
    Ok(Answer { envelope: Some(record.envelope), ..Answer::none() })
}

/// The same answer under a new token, for as long again.
///
/// # Errors
/// As [`unwrap`].
pub(crate) async fn rewrap(vault: &Vault, token: Option<&str>) -> Result<Answer, Error> {
    let record = take(vault, token).await?;
    Ok(Answer {
        wrap: Some((record.ttl, record.creation_path)),
        envelope: Some(record.envelope),
        ..Answer::none()
    })
}

/// The text of the envelope, for `cubbyhole/response`, an older way to unwrap. The pipeline has
/// taken the token's use already.
pub(crate) async fn old_style(vault: &Vault, token: &Token) -> Result<Answer, Error> {
    let record = vault.wrapped.get(token.hash).await?.ok_or(Error::NotFound)?;
    let data = json!({ "response": record.envelope.to_string() });
    Ok(Response::data(data)
        .warn(
            "Reading from 'cubbyhole/response' is deprecated. Please use sys/wrapping/unwrap to \
             unwrap responses, as it provides additional security checks and other benefits.",
        )
        .into())
}

/// The wrapping token in a JWT that this server signed; anything else as it is.
///
/// # Errors
/// The store's.
pub(crate) async fn open(vault: &Vault, token: &str) -> Result<String, Error> {
    Ok(vault.wrapped.1.open(token).await?.unwrap_or_else(|| token.to_owned()))
}

async fn find(
    vault: &Vault,
    token: Option<&str>,
) -> Result<(std::sync::Arc<Token>, WrappedRecord), Error> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let message = "error validating wrapping token: token is empty".to_owned();
        return Err(Error::Status { status: 403, message });
    };
    let found = vault.tokens.lookup(token).await?.filter(|token| is_wrapping(token));
    let found = found.ok_or_else(|| Error::invalid(NOT_VALID))?;
    let record = vault.wrapped.get(found.hash).await?;
    Ok((found, record.ok_or_else(|| Error::invalid(NOT_VALID))?))
}

async fn take(vault: &Vault, token: Option<&str>) -> Result<WrappedRecord, Error> {
    let (token, record) = find(vault, token).await?;
    if vault.tokens.spend(&token).await? != Use::Last {
        return Err(Error::invalid(NOT_VALID));
    }
    revoke_tree(vault, token.hash).await?;
    Ok(record)
}
