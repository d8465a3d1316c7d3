//! What is known of a secret id. The id itself is not kept.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_logical::{Error, Request};
use holdfast_types::{Timestamp, rfc3339};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::metadata;
use super::role::{Role, parse_networks, print_networks};

/// How the API writes "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A secret id as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretId {
    pub(super) accessor: String,
    /// Uses that are left; 0 for any number, as one that has none left is removed.
    pub(super) num_uses: u64,
    pub(super) ttl: Duration,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// None: never.
    pub(super) expires_at: Option<Timestamp>,
    pub(super) metadata: BTreeMap<String, String>,
    /// Where it may be used from; empty for anywhere.
    pub(super) cidr_list: Vec<IpNet>,
    /// Where its tokens may be used from, in place of what the role says; empty for as it says.
    pub(super) token_bound_cidrs: Vec<IpNet>,
}

/// What is left of a secret id after a use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterUse {
    /// It is unchanged: it may be used any number of times.
    Same,
    /// It has one use less.
    Fewer(SecretId),
    /// This was its last use.
    Gone,
}

impl SecretId {
    /// A secret id as a request orders it, within what the role allows.
    ///
    /// # Errors
    /// 400: a field that does not parse, or more than the role allows.
    pub(super) fn ordered(
        request: &Request,
        role: &Role,
        accessor: String,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let fields = request.fields();
        let metadata = metadata::parse(&fields.string("metadata")?.unwrap_or_default())?;
        let num_uses = match fields.integer("num_uses")? {
            None => role.secret_id_num_uses,
            Some(uses) => {
                let uses = u64::try_from(uses)
                    .map_err(|_| Error::invalid("num_uses cannot be negative"))?;
                if role.secret_id_num_uses > 0 && (uses == 0 || uses > role.secret_id_num_uses) {
                    return Err(Error::invalid(
                        "num_uses cannot be higher than the role's secret_id_num_uses",
                    ));
                }
                uses
            }
        };
        let ttl = match fields.duration("ttl")? {
            None => role.secret_id_ttl,
            Some(ttl) => {
                let ttl = Duration::from_secs(ttl.as_secs());
                let of_role = role.secret_id_ttl;
                if !of_role.is_zero() && (ttl.is_zero() || ttl > of_role) {
                    return Err(Error::invalid(
                        "ttl cannot be longer than the role's secret_id_ttl",
                    ));
                }
                ttl
            }
        };
        let ttl = ttl.min(request.mount.max_ttl);
        let cidr_list = parse_networks(fields, "cidr_list", "CIDR blocks")?.unwrap_or_default();
        check_subset(&cidr_list, role.secret_id_bound_cidrs.as_deref().unwrap_or_default())?;
        let token_bound_cidrs =
            parse_networks(fields, "token_bound_cidrs", "token CIDR blocks")?.unwrap_or_default();
        check_subset(&token_bound_cidrs, &role.tokens.params.token_bound_cidrs)?;
        let expires_at = match ttl {
            Duration::ZERO => None,
            ttl => Some(now.checked_add(ttl).unwrap_or(Timestamp::MAX)),
        };
        Ok(Self {
            accessor,
            num_uses,
            ttl,
            created_at: now,
            updated_at: now,
            expires_at,
            metadata,
            cidr_list,
            token_bound_cidrs,
        })
    }

    /// Whether it can still be used.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }

    /// What one use leaves of it.
    pub(super) fn used(mut self, now: Timestamp) -> AfterUse {
        match self.num_uses {
            0 => AfterUse::Same,
            1 => AfterUse::Gone,
            _ => {
                self.num_uses -= 1;
                self.updated_at = now;
                AfterUse::Fewer(self)
            }
        }
    }

    /// What a lookup answers.
    pub(super) fn print(&self) -> Value {
        json!({
            "cidr_list": print_networks(Some(&self.cidr_list)),
            "creation_time": rfc3339(self.created_at),
            "expiration_time": self.expires_at.map_or_else(|| NEVER.to_owned(), rfc3339),
            "last_updated_time": rfc3339(self.updated_at),
            "metadata": self.metadata,
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl.as_secs(),
            "token_bound_cidrs": print_networks(Some(&self.token_bound_cidrs)),
        })
    }
}

/// A secret id may narrow down what its role allows, not widen it.
fn check_subset(networks: &[IpNet], of_role: &[IpNet]) -> Result<(), Error> {
    let is_allowed =
        |network: &IpNet| of_role.is_empty() || of_role.iter().any(|outer| outer.contains(network));
    if networks.iter().all(is_allowed) {
        return Ok(());
    }
    let quote = |networks: &[IpNet]| {
        let quoted: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
        quoted.join(" ")
    };
    Err(Error::invalid(format!(
        "failed to verify subset relationship between CIDR blocks on the role [{}] and CIDR blocks \
         on the secret ID [{}]",
        quote(of_role),
        quote(networks)
    )))
}
