//! `roles/<name>`: which users a config makes, and for how long.

use std::time::Duration;

use holdfast_logical::{Error, Fields, MountInfo, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::config::statement_list;
use super::statements::misplaced_password;

/// A role as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) db_name: String,
    pub(crate) creation_statements: Vec<String>,
    pub(crate) revocation_statements: Vec<String>,
    /// Kept and shown, but not used: creation is one transaction, which PostgreSQL undoes itself.
    rollback_statements: Vec<String>,
    pub(crate) renew_statements: Vec<String>,
    /// Empty: the config's.
    #[serde(default)]
    pub(crate) password_policy: String,
    /// Zero: the mount's.
    default_ttl: Duration,
    /// Zero: the mount's.
    max_ttl: Duration,
}

impl Role {
    /// What `request` makes of the role that is there, if one is.
    pub(crate) fn written(old: Option<Self>, request: &Request) -> Result<Self, Error> {
        let fields = request.fields();
        let mut role = old.unwrap_or_default();
        if let Some(name) = fields.string("db_name")? {
            role.db_name = name;
        }
        if role.db_name.is_empty() {
            return Err(Error::invalid("database name is required"));
        }
        check_credential_type(fields)?;
        if let Some(policy) = password_policy(fields)? {
            role.password_policy = policy;
        }
        for (name, statements) in [
            ("creation_statements", &mut role.creation_statements),
            ("revocation_statements", &mut role.revocation_statements),
            ("rollback_statements", &mut role.rollback_statements),
            ("renew_statements", &mut role.renew_statements),
        ] {
            if let Some(given) = statement_list(fields, name)? {
                *statements = given;
            }
        }
        for statement in &role.creation_statements {
            if let Some(problem) = misplaced_password(statement) {
                return Err(Error::invalid(format!("creation_statements: {problem}")));
            }
        }
        if let Some(ttl) = fields.duration("default_ttl")? {
            role.default_ttl = ttl;
        }
        if let Some(ttl) = fields.duration("max_ttl")? {
            role.max_ttl = ttl;
        }
        Ok(role)
    }

    /// The answer to a read.
    pub(crate) fn response(&self) -> Response {
        let mut data = json!({
            "creation_statements": self.creation_statements,
            "credential_type": "password",
            "db_name": self.db_name,
            "default_ttl": self.default_ttl.as_secs(),
            "max_ttl": self.max_ttl.as_secs(),
            "renew_statements": self.renew_statements,
            "revocation_statements": self.revocation_statements,
            "rollback_statements": self.rollback_statements,
        });
        if !self.password_policy.is_empty() {
            data["credential_config"] = json!({ "password_policy": self.password_policy });
        }
        Response::data(data)
    }

    /// How long a user of this role is to live at first, and how long it may. The first can be
    /// the longer: the core caps it, and says so to the client.
    pub(crate) fn lives(&self, mount: &MountInfo) -> (Duration, Duration) {
        let or = |own: Duration, mounts: Duration| if own.is_zero() { mounts } else { own };
        let max_ttl = or(self.max_ttl, mount.max_ttl).min(mount.max_ttl);
        (or(self.default_ttl, mount.default_ttl), max_ttl)
    }
}

/// Refuses credentials that PostgreSQL has no use for.
pub(crate) fn check_credential_type(fields: Fields<'_>) -> Result<(), Error> {
    match fields.string("credential_type")?.as_deref() {
        None | Some("password") => Ok(()),
        Some(kind @ ("rsa_private_key" | "client_certificate")) => {
            Err(Error::invalid(format!("unsupported credential_type: {kind:?}")))
        }
        Some(kind) => Err(Error::invalid(format!("invalid credential_type {kind:?}"))),
    }
}

/// The policy that `credential_config` names, where it names one. Empty: the config's.
pub(crate) fn password_policy(fields: Fields<'_>) -> Result<Option<String>, Error> {
    let settings = fields.string_map("credential_config")?;
    Ok(settings.and_then(|mut settings| settings.remove("password_policy")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_the_roles_or_the_mounts() {
        let seconds = Duration::from_secs;
        let mount =
            MountInfo { default_ttl: seconds(50), max_ttl: seconds(100), ..MountInfo::default() };
        for (default_ttl, max_ttl, want) in [
            (0, 0, (50, 100)),
            (10, 20, (10, 20)),
            (30, 20, (30, 20)),
            (500, 0, (500, 100)),
            (10, 500, (10, 100)),
        ] {
            let role = Role {
                default_ttl: seconds(default_ttl),
                max_ttl: seconds(max_ttl),
                ..Role::default()
            };
            assert_eq!(role.lives(&mount), (seconds(want.0), seconds(want.1)));
        }
    }
}
