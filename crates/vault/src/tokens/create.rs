//! Making tokens: by a token's request, and by a login.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Auth, BatchCell, Error, Fields, MountInfo, TokenKind};
use holdfast_types::Timestamp;
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::params::{LifeRequest, after, grant_life, sanitize_policies};
use super::roles::TokenRole;
use super::{Created, Login, TokenEntry};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// The fields of `auth/token/create`. Others are answered with a warning.
const FIELDS: [&str; 13] = [
    "display_name",
    "entity_alias",
    "explicit_max_ttl",
    "id",
    "lease",
    "meta",
    "no_default_policy",
    "no_parent",
    "num_uses",
    "period",
    "policies",
    "renewable",
    "ttl",
];

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
    let order = Order::read(&invocation.request.data).map_err(Error::field_validation)?;
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
    let mut warnings = order.warnings.clone();
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

    let role_period = role.as_ref().map_or(Duration::ZERO, TokenRole::effective_period);
    let mut period = order.period;
    if !period.is_zero() && !sudo {
        return Err(Error::invalid("root or sudo privileges required to create periodic token"));
    }
    if !role_period.is_zero() {
        period = role_period;
    }
    let role_explicit_max =
        role.as_ref().map_or(Duration::ZERO, TokenRole::effective_explicit_max_ttl);
    let explicit_max = shorter(order.explicit_max_ttl, role_explicit_max);
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
            vault.identity.of_alias(mount, &alias.to_lowercase(), &Default::default()).await?
        }
        (None, _) if is_orphan => String::new(),
        (None, _) => parent.entity_id.clone(),
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
        bound_cidrs: role.as_ref().map(|role| role.token_bound_cidrs.clone()).unwrap_or_default(),
        role: role.map(|role| role.name).unwrap_or_default(),
        login: None,
        doomed: false,
    };
    let created = vault.tokens.create(&vault.leases, entry, custom_id, Batch::new()).await?;
    Ok(Made { created, warnings })
}

/// What a login asks for, with what the core adds.
pub(crate) struct LoginRequest<'a> {
    pub auth: Auth,
    pub mount: &'a MountInfo,
    /// What the mount says of its tokens.
    pub mount_token_type: TokenKind,
    /// The request's path.
    pub path: &'a str,
    /// The address that logged in.
    pub remote_address: Option<std::net::IpAddr>,
}

/// Makes the token of a login. Its uses (`auth.settles`) are committed with it.
///
/// # Errors
/// 400 where the method asks for what no login may have; else the store's.
pub(crate) async fn create_login(
    vault: &Vault,
    login: LoginRequest<'_>,
) -> Result<(Created, Vec<String>), Error> {
    let LoginRequest { mut auth, mount, mount_token_type, path, remote_address } = login;
    // What is held keeps others from the same last use until the commit below.
    let BatchCell(settles, held) = std::mem::take(&mut auth.settles);
    let policies =
        sanitize_policies(&auth.params.token_policies, !auth.params.token_no_default_policy);
    if policies == ["root"] {
        return Err(Error::invalid("auth methods cannot create root tokens"));
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
            vault.identity.of_alias(mount, &alias.name, &alias.metadata).await?
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
            })
        }),
        doomed: false,
    };
    let created = vault.tokens.create(&vault.leases, entry, None, settles).await;
    drop(held);
    Ok((created?, warnings))
}

/// The body of `auth/token/create`, read.
struct Order {
    id: Option<String>,
    policies: Vec<String>,
    meta: std::collections::BTreeMap<String, String>,
    no_parent: bool,
    no_default_policy: bool,
    ttl: Duration,
    explicit_max_ttl: Duration,
    period: Duration,
    display_name: String,
    num_uses: u64,
    renewable: bool,
    kind: Option<String>,
    entity_alias: Option<String>,
    warnings: Vec<String>,
}

impl Order {
    fn read(data: &Map<String, Value>) -> Result<Self, Error> {
        let fields = Fields::new(data);
        let text = |name| -> Result<Option<String>, Error> {
            let text = fields.string(name).map_err(Error::field_validation)?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let flag = |name| fields.bool(name).map_err(Error::field_validation);
        // A single text is one name here, commas and all, unlike elsewhere.
        let policies = match fields.value("policies") {
            Some(Value::String(name)) => vec![name.clone()],
            _ => fields.strings("policies").map_err(Error::field_validation)?.unwrap_or_default(),
        };
        let mut ttl = duration(&fields, "ttl")?;
        if ttl.is_zero() {
            ttl = duration(&fields, "lease")?;
        }
        let num_uses = fields.integer("num_uses").map_err(Error::field_validation)?;
        let num_uses = u64::try_from(num_uses.unwrap_or(0))
            .map_err(|_| Error::invalid("number of uses cannot be negative"))?;
        let unknown: Vec<_> = data
            .keys()
            .filter(|name| !FIELDS.contains(&name.as_str()) && name.as_str() != "type")
            .map(String::as_str)
            .collect();
        let mut warnings = Vec::new();
        if !unknown.is_empty() {
            warnings.push(format!(
                "Endpoint ignored these unrecognized parameters: [{}]",
                unknown.join(" ")
            ));
        }
        Ok(Self {
            id: text("id")?,
            policies,
            meta: fields.string_map("meta").map_err(Error::field_validation)?.unwrap_or_default(),
            no_parent: flag("no_parent")?.unwrap_or(false),
            no_default_policy: flag("no_default_policy")?.unwrap_or(false),
            ttl,
            explicit_max_ttl: duration(&fields, "explicit_max_ttl")?,
            period: duration(&fields, "period")?,
            display_name: display_name(&text("display_name")?.unwrap_or_default()),
            num_uses,
            renewable: flag("renewable")?.unwrap_or(true),
            kind: text("type")?,
            entity_alias: text("entity_alias")?,
            warnings,
        })
    }

    fn check_id(&self, sudo: bool, warnings: &mut Vec<String>) -> Result<Option<&str>, Error> {
        let Some(id) = &self.id else { return Ok(None) };
        if !sudo {
            return Err(Error::invalid("root or sudo privileges required to specify token id"));
        }
        if id.starts_with("s.") {
            return Err(Error::invalid("custom token ID cannot have the 's.' prefix"));
        }
        if id.contains('.') {
            return Err(Error::invalid("custom token ID cannot have a '.' in the value"));
        }
        warnings.push(
            "A token of the caller's own choice is as strong as its choice: it is kept as a salted \
             hash, but may be guessed."
                .to_owned(),
        );
        Ok(Some(id))
    }
}

fn duration(fields: &Fields<'_>, name: &str) -> Result<Duration, Error> {
    let Some(value) = fields.value(name) else { return Ok(Duration::ZERO) };
    if value.as_str().is_some_and(|text| text.starts_with('-'))
        || value.as_f64().is_some_and(|number| number < 0.0)
    {
        return Err(Error::invalid(format!("{name} must be positive")));
    }
    match fields.duration(name) {
        Ok(duration) => Ok(duration.unwrap_or_default()),
        Err(_) => Err(Error::invalid(format!("time: invalid duration {value}"))),
    }
}

/// `token`, or `token-` and the name with all but letters, digits and `-` made into `-`.
fn display_name(name: &str) -> String {
    if name.is_empty() {
        return "token".to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let text: String = "token-".chars().chain(name.chars().map(plain)).collect();
    text.strip_suffix('-').map(str::to_owned).unwrap_or(text)
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
    let wanted = sanitize_policies(&order.policies, false);
    if !sudo && !wanted.iter().all(|policy| parent.policies.contains(policy)) {
        return Err(Error::invalid("child policies must be subset of parent"));
    }
    Ok(sanitize_policies(&order.policies, !no_default))
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

/// The entry of a root token, which never ends.
pub(crate) fn root_entry(now: Timestamp) -> TokenEntry {
    TokenEntry {
        accessor: String::new(),
        parent: None,
        kind: TokenKind::Service,
        policies: vec!["root".to_owned()],
        path: "auth/token/root".to_owned(),
        display_name: "root".to_owned(),
        meta: Default::default(),
        entity_id: String::new(),
        uses: None,
        issued_at: now,
        expires_at: None,
        creation_ttl: Duration::ZERO,
        ttl: Duration::ZERO,
        period: Duration::ZERO,
        explicit_max_ttl: Duration::ZERO,
        renewable: false,
        last_renewal: None,
        bound_cidrs: Vec::new(),
        role: String::new(),
        login: None,
        doomed: false,
    }
}
