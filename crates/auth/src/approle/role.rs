//! A role: who may log in as it, and what tokens they get.

use std::time::Duration;

use holdfast_logical::{Error, Fields, Request, TokenKind};
use holdfast_types::SecretString;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::token_params::{OldName, RoleTokens, parse_token_type};

/// The names from before `token_*` that this method takes.
pub(super) const OLD_NAMES: &[OldName] = &[OldName::Policies, OldName::Period];

/// A role as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) role_id: String,
    /// Under this key its secret ids are hashed. A role made anew has another.
    pub(super) hmac_key: SecretString,
    /// Whether a login needs a secret id.
    pub(super) bind_secret_id: bool,
    /// Where a login may come from; none for anywhere.
    pub(super) secret_id_bound_cidrs: Option<Vec<IpNet>>,
    /// How often a new secret id may be used; 0 for any number.
    pub(super) secret_id_num_uses: u64,
    /// How long a new secret id lives; zero for ever.
    pub(super) secret_id_ttl: Duration,
    pub(super) local_secret_ids: bool,
    pub(super) tokens: RoleTokens,
}

impl Role {
    /// Takes over the fields of a request; those that are missing stay. Returns warnings.
    ///
    /// # Errors
    /// 400: a field that does not parse, or settings that contradict each other.
    pub(super) fn update(&mut self, request: &Request) -> Result<Vec<String>, Error> {
        let fields = request.fields();
        let mut warnings = Vec::new();
        self.tokens.update_by(fields, OLD_NAMES, |text| match text {
            "default-service" => Ok(TokenKind::Service),
            "default-batch" => Ok(TokenKind::Batch),
            other => parse_token_type(other),
        })?;
        // A role has one kind of tokens, so "by default" says nothing.
        if let Some(given) = fields.string("token_type")?
            && let Some(used) = given.strip_prefix("default-")
        {
            warnings.push(format!("{given} has no useful meaning; adjusting to {used}"));
        }
        self.update_secret_id_fields(fields)?;
        if self.tokens.params.token_max_ttl > request.mount.max_ttl {
            warnings.push(
                "token_max_ttl is greater than the backend mount's maximum TTL value; issued \
                 tokens' max TTL value will be truncated"
                    .to_owned(),
            );
        }
        self.check_constraints()?;
        Ok(warnings)
    }

    /// What `GET role/<name>` answers.
    pub(super) fn print(&self) -> Map<String, Value> {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        for (name, value) in [
            ("bind_secret_id", self.bind_secret_id.into()),
            ("local_secret_ids", self.local_secret_ids.into()),
            ("secret_id_bound_cidrs", print_networks(self.secret_id_bound_cidrs.as_deref())),
            ("secret_id_num_uses", self.secret_id_num_uses.into()),
            ("secret_id_ttl", self.secret_id_ttl.as_secs().into()),
        ] {
            data.insert(name.to_owned(), value);
        }
        data
    }

    /// A role that anybody who knows its id could log in to is refused.
    pub(super) fn check_constraints(&self) -> Result<(), Error> {
        let is_bound = self.bind_secret_id
            || self.secret_id_bound_cidrs.as_ref().is_some_and(|cidrs| !cidrs.is_empty())
            || !self.tokens.params.token_bound_cidrs.is_empty();
        if is_bound {
            return Ok(());
        }
        Err(Error::invalid("at least one constraint should be enabled on the role"))
    }

    pub(super) fn update_secret_id_fields(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        if let Some(bind) = fields.bool("bind_secret_id")? {
            self.bind_secret_id = bind;
        }
        if let Some(cidrs) = parse_networks(fields, "secret_id_bound_cidrs", "CIDR blocks")? {
            self.secret_id_bound_cidrs = Some(cidrs);
        }
        if let Some(uses) = fields.integer("secret_id_num_uses")? {
            self.secret_id_num_uses = u64::try_from(uses)
                .map_err(|_| Error::invalid("secret_id_num_uses cannot be negative"))?;
        }
        if let Some(ttl) = fields.duration("secret_id_ttl")? {
            self.secret_id_ttl = Duration::from_secs(ttl.as_secs());
        }
        Ok(())
    }
}

/// Networks with their prefix length, such as `10.0.0.0/8`: unlike elsewhere an address alone is
/// refused. `what` names them in the refusal.
pub(super) fn parse_networks(
    fields: Fields<'_>,
    name: &str,
    what: &str,
) -> Result<Option<Vec<IpNet>>, Error> {
    let Some(items) = fields.strings(name)? else { return Ok(None) };
    let networks = items.iter().map(|item| {
        item.parse().map_err(|_| {
            Error::invalid(format!("failed to validate {what}: invalid CIDR address: {item}"))
        })
    });
    networks.collect::<Result<_, _>>().map(Some)
}

/// Networks as they were written; none is null.
pub(super) fn print_networks(networks: Option<&[IpNet]>) -> Value {
    let print = |networks: &[IpNet]| networks.iter().map(IpNet::to_string).collect::<Vec<_>>();
    networks.map(print).into()
}
