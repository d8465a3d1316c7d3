//! Token roles: what `auth/token/create/<role>` may and does.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_logical::{Error, Fields, Response, TokenKind};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Tokens;
use super::params::sanitize_policies;

/// A role, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TokenRole {
    pub name: String,
    pub allowed_policies: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    pub allowed_entity_aliases: Option<Vec<String>>,
    pub orphan: bool,
    pub renewable: bool,
    pub path_suffix: String,
    /// The old names of the `token_` fields; shown again where they were written.
    pub period: Duration,
    pub explicit_max_ttl: Duration,
    pub bound_cidrs: Vec<IpNet>,
    pub token_period: Duration,
    pub token_explicit_max_ttl: Duration,
    pub token_bound_cidrs: Vec<IpNet>,
    pub token_no_default_policy: bool,
    pub token_num_uses: u64,
    pub token_type: TokenKind,
}

impl Default for TokenRole {
    fn default() -> Self {
        Self {
            name: String::new(),
            allowed_policies: Vec::new(),
            disallowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            allowed_entity_aliases: None,
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            period: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            bound_cidrs: Vec::new(),
            token_period: Duration::ZERO,
            token_explicit_max_ttl: Duration::ZERO,
            token_bound_cidrs: Vec::new(),
            token_no_default_policy: false,
            token_num_uses: 0,
            token_type: TokenKind::DefaultService,
        }
    }
}

impl TokenRole {
    pub(super) fn restricts_policies(&self) -> bool {
        !(self.allowed_policies.is_empty()
            && self.disallowed_policies.is_empty()
            && self.allowed_policies_glob.is_empty()
            && self.disallowed_policies_glob.is_empty())
    }

    pub(super) fn allows_alias(&self, alias: &str) -> bool {
        let alias = alias.to_lowercase();
        let allowed = self.allowed_entity_aliases.as_deref().unwrap_or_default();
        allowed.iter().any(|pattern| glob(pattern, &alias))
    }

    /// The policies of a token made by this role, which restricts them.
    ///
    /// # Errors
    /// 400 where one is not allowed, in OpenBao's words.
    pub(super) fn choose_policies(
        &self,
        asked: &[String],
        parent: &[String],
        add_default: bool,
    ) -> Result<Vec<String>, Error> {
        let add_default = add_default && !self.forbids("default");
        let lists_allowed =
            !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let asked = match (asked.is_empty(), lists_allowed) {
            (false, _) => asked,
            (true, true) => &self.allowed_policies,
            (true, false) => parent,
        };
        let chosen = sanitize_policies(asked, add_default);
        if lists_allowed {
            let allowed = sanitize_policies(&self.allowed_policies, add_default);
            let fits = |policy: &String| {
                allowed.contains(policy)
                    || self.allowed_policies_glob.iter().any(|pattern| glob(pattern, policy))
            };
            if !chosen.iter().all(fits) {
                return Err(Error::invalid(format!(
                    "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                    quoted(&chosen),
                    quoted(&allowed),
                    quoted(&self.allowed_policies_glob),
                )));
            }
        }
        match chosen.iter().find(|policy| self.forbids(policy)) {
            Some(policy) => {
                Err(Error::invalid(format!("token policy \"{policy}\" is disallowed by this role")))
            }
            None => Ok(chosen),
        }
    }

    fn forbids(&self, policy: &str) -> bool {
        self.disallowed_policies.iter().any(|name| name == policy)
            || self.disallowed_policies_glob.iter().any(|pattern| glob(pattern, policy))
    }

    /// Takes over those fields that are there.
    fn update(&mut self, fields: &Fields<'_>) -> Result<(), Error> {
        let names = |name| -> Result<Option<Vec<String>>, Error> {
            Ok(fields.strings(name)?.map(|names| sanitize_policies(&names, false)))
        };
        self.allowed_policies = names("allowed_policies")?.unwrap_or(self.allowed_policies.clone());
        self.disallowed_policies =
            names("disallowed_policies")?.unwrap_or(self.disallowed_policies.clone());
        self.allowed_policies_glob =
            names("allowed_policies_glob")?.unwrap_or(self.allowed_policies_glob.clone());
        self.disallowed_policies_glob =
            names("disallowed_policies_glob")?.unwrap_or(self.disallowed_policies_glob.clone());
        if let Some(aliases) = fields.strings("allowed_entity_aliases")? {
            let lower: BTreeSet<_> = aliases.iter().map(|alias| alias.to_lowercase()).collect();
            self.allowed_entity_aliases = Some(lower.into_iter().collect());
        }
        self.orphan = fields.bool("orphan")?.unwrap_or(self.orphan);
        self.renewable = fields.bool("renewable")?.unwrap_or(self.renewable);
        if let Some(suffix) = fields.string("path_suffix")? {
            let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let fits = suffix.is_empty()
                || (suffix.len() >= 3
                    && suffix.chars().all(part)
                    && suffix.starts_with(word)
                    && suffix.ends_with(word));
            if !fits {
                return Err(Error::invalid(
                    "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w",
                ));
            }
            self.path_suffix = suffix;
        }
        if let Some(period) = fields.duration("period")? {
            (self.period, self.token_period) = (period, period);
        }
        if let Some(period) = fields.duration("token_period")? {
            (self.period, self.token_period) = (Duration::ZERO, period);
        }
        if let Some(max) = fields.duration("explicit_max_ttl")? {
            (self.explicit_max_ttl, self.token_explicit_max_ttl) = (max, max);
        }
        if let Some(max) = fields.duration("token_explicit_max_ttl")? {
            (self.explicit_max_ttl, self.token_explicit_max_ttl) = (Duration::ZERO, max);
        }
        if let Some(cidrs) = fields.cidrs("bound_cidrs")? {
            (self.bound_cidrs, self.token_bound_cidrs) = (cidrs.clone(), cidrs);
        }
        if let Some(cidrs) = fields.cidrs("token_bound_cidrs").map_err(of_role)? {
            (self.bound_cidrs, self.token_bound_cidrs) = (Vec::new(), cidrs);
        }
        self.token_no_default_policy =
            fields.bool("token_no_default_policy")?.unwrap_or(self.token_no_default_policy);
        if let Some(uses) = fields.integer("token_num_uses")? {
            self.token_num_uses = u64::try_from(uses).map_err(|_| {
                Error::invalid("error parsing role fields: 'token_num_uses' cannot be negative")
            })?;
        }
        if let Some(kind) = fields.string("token_type")? {
            self.token_type = match kind.as_str() {
                "" | "default-service" => TokenKind::DefaultService,
                "default-batch" => TokenKind::DefaultBatch,
                "service" => TokenKind::Service,
                "batch" => TokenKind::Batch,
                other => {
                    return Err(Error::invalid(format!("invalid 'token_type' value \"{other}\"")));
                }
            };
        }
        if self.token_type == TokenKind::Batch && !self.orphan {
            return Err(Error::invalid(
                "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens",
            ));
        }
        if self.token_type == TokenKind::Batch && self.renewable {
            return Err(Error::invalid(
                "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
            ));
        }
        Ok(())
    }

    fn to_wire(&self) -> Response {
        let cidrs = |nets: &[IpNet]| nets.iter().map(show_cidr).collect::<Vec<_>>();
        let mut data = json!({
            "allowed_entity_aliases": self.allowed_entity_aliases,
            "allowed_policies": self.allowed_policies,
            "allowed_policies_glob": self.allowed_policies_glob,
            "disallowed_policies": self.disallowed_policies,
            "disallowed_policies_glob": self.disallowed_policies_glob,
            "explicit_max_ttl": self.explicit_max_ttl.as_secs(),
            "name": self.name,
            "orphan": self.orphan,
            "path_suffix": self.path_suffix,
            "period": self.period.as_secs(),
            "renewable": self.renewable,
            "token_explicit_max_ttl": self.token_explicit_max_ttl.as_secs(),
            "token_no_default_policy": self.token_no_default_policy,
            "token_period": self.token_period.as_secs(),
            "token_type": self.token_type.as_str(),
        });
        if let Value::Object(map) = &mut data {
            if !self.bound_cidrs.is_empty() {
                map.insert("bound_cidrs".to_owned(), json!(cidrs(&self.bound_cidrs)));
            }
            if !self.token_bound_cidrs.is_empty() {
                map.insert("token_bound_cidrs".to_owned(), json!(cidrs(&self.token_bound_cidrs)));
            }
            if self.token_num_uses > 0 {
                map.insert("token_num_uses".to_owned(), json!(self.token_num_uses));
            }
        }
        Response::data(data)
    }
}

impl Tokens {
    pub(super) async fn role(&self, name: &str) -> Result<Option<TokenRole>, Error> {
        Ok(self.store.get_json(&role_key(name)).await?)
    }

    pub(super) async fn read_role(&self, name: &str) -> Result<Option<Response>, Error> {
        Ok(self.role(name).await?.map(|role| role.to_wire()))
    }

    pub(super) async fn list_roles(&self) -> Result<Option<Response>, Error> {
        Ok(Response::list(self.store.list("role/").await?))
    }

    pub(super) async fn write_role(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let mut role = self.role(name).await?.unwrap_or_default();
        role.name = name.to_owned();
        role.update(fields)?;
        Ok(self.store.put_json(&role_key(name), &role).await?)
    }

    pub(super) async fn delete_role(&self, name: &str) -> Result<(), Error> {
        Ok(self.store.delete(&role_key(name)).await?)
    }
}

/// An address that does not parse, in OpenBao's words for the fields that all roles have.
fn of_role(error: Error) -> Error {
    match error {
        Error::Invalid(why) if why.starts_with("error parsing address") => {
            Error::Invalid(format!("error parsing role fields: {why}"))
        }
        other => other,
    }
}

fn role_key(name: &str) -> String {
    format!("role/{name}")
}

/// A single address without its length, as it was written.
pub(super) fn show_cidr(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// Whether `text` fits `pattern`, in which each `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<_> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// `["a" "b"]`, as Go prints a list of strings.
fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", names.join(" "))
}
