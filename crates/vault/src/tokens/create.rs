//! Making tokens by a token's request.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Error, TokenKind};

use super::order::Order;
use super::params::{LifeRequest, after, grant_life, sanitize_policies};
use super::roles::TokenRole;
use super::{Created, TokenEntry};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::identity::{LoginName, no_metadata};

/// A token that was made, with what its maker is told.
pub(super) struct Made {
    pub created: Created,
    pub warnings: Vec<String>,
}

/// Answers `auth/token/create`, `create-orphan` and `create/<role>`.
///
/// # Errors
/// 400 in OpenBao's words for whatever the caller, the role or the token's kind forbids.
pub(super) async fn create_token(
    vault: &Vault,
    invocation: &Invocation,
    role: Option<TokenRole>,
    orphan: bool,
) -> Result<Made, Error> {
    let order = Order::read(invocation.request.fields()).map_err(Error::field_validation)?;
    let caller = invocation.token.as_ref().ok_or(Error::Denied)?;
    let parent = &caller.entry;
    if parent.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot create more tokens"));
    }
    match parent.uses {
        None => {}
        // This request was its last use, so that it is gone already.
        Some(1) => return Err(Error::invalid("parent token lookup failed: no parent found")),
        Some(_) => {
            return Err(Error::invalid("restricted use token cannot generate child tokens"));
        }
    }
    let sudo = invocation.sudo;
    let mut warnings = Vec::new();
    let custom_id = order.check_id(sudo, &mut warnings)?;

    let role_orphan = role.as_ref().is_some_and(|role| role.orphan);
    if order.no_parent && !sudo && !role_orphan {
        return Err(Error::invalid("root or sudo privileges required to create orphan token"));
    }
    let is_orphan = orphan || order.no_parent || role_orphan;

    let policies = choose_policies(&order, role.as_ref(), parent, sudo)?;
    let is_root = policies == ["root"];
    if is_root && !parent.is_root() {
        return Err(Error::invalid(
            "root tokens may not be created without parent token being root",
        ));
    }
    if policies.iter().any(|policy| policy == "response-wrapping") {
        return Err(Error::invalid("cannot assign policy \"response-wrapping\""));
    }
    let kind = choose_kind(&order, role.as_ref())?;

    let role_period = role.as_ref().map_or(Duration::ZERO, |role| role.token_period);
    let mut period = order.period;
    if !period.is_zero() && !sudo {
        return Err(Error::invalid("root or sudo privileges required to create periodic token"));
    }
    if !role_period.is_zero() {
        period = role_period;
    }
    let role_explicit_max =
        role.as_ref().map_or(Duration::ZERO, |role| role.token_explicit_max_ttl);
    let explicit_max = shorter(order.explicit_max_ttl, role_explicit_max);
    if !order.explicit_max_ttl.is_zero() && !role_explicit_max.is_zero() {
        warnings.push(format!(
            "Explicit max TTL specified both during creation call and in role; using the lesser \
             value of {} seconds",
            explicit_max.as_secs()
        ));
    }
    let role_uses = role.as_ref().map_or(0, |role| role.token_num_uses);
    let uses = if role_uses > 0 && (order.num_uses == 0 || order.num_uses > role_uses) {
        role_uses
    } else {
        order.num_uses
    };
    if kind == TokenKind::Batch {
        let forbidden = [
            ("explicit_max_ttl", !order.explicit_max_ttl.is_zero()),
            ("num_uses", order.num_uses > 0),
            ("period", !order.period.is_zero()),
        ];
        if let Some((name, _)) = forbidden.iter().find(|(_, set)| *set) {
            return Err(Error::invalid(format!("batch tokens cannot have \"{name}\" set")));
        }
        if is_root {
            return Err(Error::invalid("batch tokens cannot be root tokens"));
        }
    }

    let mount = &invocation.request.mount;
    let endless =
        is_root && order.ttl.is_zero() && period.is_zero() && order.explicit_max_ttl.is_zero();
    let mut ttl = Duration::ZERO;
    if endless {
        if parent.expires_at.is_some() {
            return Err(Error::invalid(
                "expiring root tokens cannot create non-expiring root tokens",
            ));
        }
    } else {
        let mut asked = if order.ttl.is_zero() { mount.default_ttl } else { order.ttl };
        if is_root && order.ttl.is_zero() && !explicit_max.is_zero() {
            // Nobody asked for more than that: nothing to warn of.
            asked = asked.min(explicit_max);
        }
        let granted = grant_life(&LifeRequest {
            ttl: asked,
            period,
            mount_max: mount.max_ttl,
            explicit_max,
            ..LifeRequest::default()
        })?;
        ttl = granted.ttl;
        warnings.extend(granted.warning);
    }
    for policy in &policies {
        if !vault.policies.exists(policy) {
            warnings.push(format!("Policy \"{policy}\" does not exist"));
        }
    }

    let entity_id = match (&order.entity_alias, &role) {
        (Some(_), None) => {
            return Err(Error::invalid(
                "'entity_alias' is only allowed in combination with token role",
            ));
        }
        (Some(alias), Some(role)) => {
            if !role.allows_alias(alias) {
                return Err(Error::invalid("invalid 'entity_alias' value"));
            }
            let login = LoginName {
                mount,
                local: false,
                name: alias,
                metadata: no_metadata(),
                groups: &[],
            };
            vault.identity.log_in(login).await.map_err(|error| match error {
                Error::Denied => Error::Status {
                    status: 403,
                    message: "entity from given entity alias is disabled".to_owned(),
                },
                other => other,
            })?
        }
        (None, _) if is_orphan => String::new(),
        (None, _) => parent.entity_id.clone(),
    };

    // A child is bound to the addresses of its parent, or else it would be the way around them.
    let bound_cidrs = match &role {
        Some(role) if !role.token_bound_cidrs.is_empty() => role.token_bound_cidrs.clone(),
        _ if is_orphan => Vec::new(),
        _ => parent.bound_cidrs.clone(),
    };
    let now = vault.clock.now();
    let role_renewable = role.as_ref().is_none_or(|role| role.renewable);
    let entry = TokenEntry {
        accessor: String::new(),
        parent: (!is_orphan).then_some(caller.hash),
        kind,
        policies,
        path: token_path(invocation, role.as_ref()),
        display_name: order.display_name.clone(),
        meta: order.meta.clone(),
        entity_id,
        uses: (uses > 0).then_some(uses),
        issued_at: now,
        expires_at: (!endless).then(|| after(now, ttl)),
        creation_ttl: ttl,
        ttl,
        period: order.period,
        explicit_max_ttl: order.explicit_max_ttl,
        renewable: !endless && kind == TokenKind::Service && order.renewable && role_renewable,
        last_renewal: None,
        bound_cidrs,
        role: role.map(|role| role.name).unwrap_or_default(),
        login: None,
        doomed: false,
    };
    let created = vault.tokens.create(&vault.leases, entry, custom_id, Batch::new()).await?;
    Ok(Made { created, warnings })
}

fn token_path(invocation: &Invocation, role: Option<&TokenRole>) -> String {
    let request = &invocation.request;
    let path = format!("{}{}", request.mount.path, request.path);
    match role {
        Some(role) if !role.path_suffix.is_empty() => format!("{path}/{}", role.path_suffix),
        _ => path,
    }
}

/// The shorter of two limits, of which zero is none.
fn shorter(left: Duration, right: Duration) -> Duration {
    match (left.is_zero(), right.is_zero()) {
        (true, _) => right,
        (_, true) => left,
        _ => left.min(right),
    }
}

fn choose_policies(
    order: &Order,
    role: Option<&TokenRole>,
    parent: &TokenEntry,
    sudo: bool,
) -> Result<Vec<String>, Error> {
    let no_default =
        order.no_default_policy || role.is_some_and(|role| role.token_no_default_policy);
    if let Some(role) = role.filter(|role| role.restricts_policies()) {
        return role.choose_policies(&order.policies, &parent.policies, !no_default);
    }
    if order.policies.is_empty() {
        // Inherited: `default` only where the parent has it.
        let mut policies = parent.policies.clone();
        policies.retain(|policy| !(no_default && policy == "default"));
        return Ok(sanitize_policies(&policies, false));
    }
    let held = |policy: &String| parent.policies.contains(policy);
    if !sudo && !sanitize_policies(&order.policies, false).iter().all(held) {
        return Err(Error::invalid("child policies must be subset of parent"));
    }
    // `default` comes by itself, but to nobody whose maker lacks it.
    let may_add = sudo || parent.policies.iter().any(|policy| policy == "default");
    Ok(sanitize_policies(&order.policies, may_add && !no_default))
}

fn choose_kind(order: &Order, role: Option<&TokenRole>) -> Result<TokenKind, Error> {
    let asked = match order.kind.as_deref() {
        None => None,
        Some("service") => Some(TokenKind::Service),
        Some("batch") => Some(TokenKind::Batch),
        Some(_) => return Err(Error::invalid("invalid 'token_type' value")),
    };
    Ok(match role.map(|role| role.token_type) {
        Some(TokenKind::Service) => TokenKind::Service,
        Some(TokenKind::Batch) => TokenKind::Batch,
        Some(TokenKind::DefaultBatch) => asked.unwrap_or(TokenKind::Batch),
        _ => asked.unwrap_or(TokenKind::Service),
    })
}
