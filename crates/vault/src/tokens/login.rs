//! Making tokens by logging in.

use std::net::IpAddr;
use std::time::Duration;

use holdfast_logical::{Auth, BatchCell, Error, MountInfo, TokenKind};
use ipnet::IpNet;
use tracing::info;

use super::params::{LifeRequest, after, grant_life, sanitize_policies};
use super::{Created, Login, TokenEntry};
use crate::core::vault::Vault;
use crate::core::wrapping;
use crate::identity::LoginName;

/// What a login asks for, with what the core adds.
pub(crate) struct LoginRequest<'a> {
    pub auth: Auth,
    pub mount: &'a MountInfo,
    /// Whether the mount is one that is not replicated.
    pub local: bool,
    /// What the mount says of its tokens.
    pub mount_token_type: TokenKind,
    /// The request's path.
    pub path: &'a str,
    /// The address that logged in.
    pub remote_address: Option<IpAddr>,
}

/// A token that was made for a login.
pub(crate) struct LoggedIn {
    pub created: Created,
    /// The policies that the identity adds, sorted.
    pub identity_policies: Vec<String>,
    pub warnings: Vec<String>,
}

/// Makes the token of a login. Its uses (`auth.settles`) are committed with it.
///
/// # Errors
/// 400 where the method asks for what no login may have, 403 where the entity is disabled; else
/// the store's.
pub(crate) async fn create_login(
    vault: &Vault,
    login: LoginRequest<'_>,
) -> Result<LoggedIn, Error> {
    let LoginRequest { mut auth, mount, local, mount_token_type, path, remote_address } = login;
    // What is held keeps others from the same last use until the commit below.
    let BatchCell(settles, held) = std::mem::take(&mut auth.settles);
    let policies =
        sanitize_policies(&auth.params.token_policies, !auth.params.token_no_default_policy);
    if policies == ["root"] {
        return Err(Error::invalid("auth methods cannot create root tokens"));
    }
    if policies.iter().any(|policy| policy == wrapping::POLICY) {
        return Err(Error::invalid(format!("cannot assign policy {:?}", wrapping::POLICY)));
    }
    let params = &auth.params;
    let kind = login_kind(params.token_type, mount_token_type);
    let asked = if params.token_ttl.is_zero() { mount.default_ttl } else { params.token_ttl };
    let granted = grant_life(&LifeRequest {
        ttl: asked,
        period: params.token_period,
        mount_max: mount.max_ttl,
        role_max: params.token_max_ttl,
        explicit_max: params.token_explicit_max_ttl,
        age: Duration::ZERO,
    })?;
    let entity_id = match &auth.alias {
        Some(alias) if !alias.name.is_empty() => {
            let (name, metadata) = (alias.name.as_str(), &alias.metadata);
            let groups = auth.group_aliases.as_slice();
            let login = LoginName { mount, local, name, metadata, groups };
            vault.identity.log_in(login).await?
        }
        _ => String::new(),
    };
    let mount_name = mount.path.strip_prefix("auth/").unwrap_or(&mount.path);
    let mut display_name = mount_name.trim_end_matches('/').replace('/', "-");
    if !auth.display_name.is_empty() {
        display_name = format!("{display_name}-{}", auth.display_name);
    }
    let mut bound_cidrs = params.token_bound_cidrs.clone();
    if params.token_strictly_bind_ip {
        bound_cidrs = remote_address.map(IpNet::from).into_iter().collect();
    }
    let warnings = granted.warning.into_iter().collect();
    let now = vault.clock.now();
    let entry = TokenEntry {
        accessor: String::new(),
        parent: None,
        kind,
        policies,
        path: path.to_owned(),
        display_name,
        meta: auth.metadata.clone(),
        entity_id,
        uses: (params.token_num_uses > 0 && kind == TokenKind::Service)
            .then_some(params.token_num_uses),
        issued_at: now,
        expires_at: Some(after(now, granted.ttl)),
        creation_ttl: granted.ttl,
        ttl: granted.ttl,
        period: params.token_period,
        explicit_max_ttl: params.token_explicit_max_ttl,
        renewable: auth.renewable && kind == TokenKind::Service,
        last_renewal: None,
        bound_cidrs,
        role: String::new(),
        login: (kind == TokenKind::Service).then(|| {
            Box::new(Login {
                params: auth.params.clone(),
                internal: auth.internal.clone(),
                display_name: auth.display_name.clone(),
                alias: auth.alias.clone(),
                groups: auth.group_aliases.clone(),
            })
        }),
        doomed: false,
    };
    let created = vault.tokens.create(&vault.leases, entry, None, settles).await;
    drop(held);
    let created = created?;
    if let Some(id) = auth.metadata.get("spiffe_id") {
        let accessor = created.entry.accessor.as_str();
        info!(spiffe.id = id, mount = mount.path, caller.accessor = accessor, "workload logged in");
    }
    let who = vault.identity.who(&created.entry.entity_id).await?;
    Ok(LoggedIn { created, identity_policies: who.sorted_policies(), warnings })
}

fn login_kind(asked: TokenKind, mount: TokenKind) -> TokenKind {
    match (mount, asked) {
        (TokenKind::Service, _) => TokenKind::Service,
        (TokenKind::Batch, _) => TokenKind::Batch,
        (_, TokenKind::Service) => TokenKind::Service,
        (_, TokenKind::Batch) => TokenKind::Batch,
        (_, TokenKind::DefaultService) => TokenKind::Service,
        (_, TokenKind::DefaultBatch) => TokenKind::Batch,
        (TokenKind::DefaultBatch, TokenKind::Default) => TokenKind::Batch,
        (_, TokenKind::Default) => TokenKind::Service,
    }
}
