//! How a secret is rotated, as its metadata and the operator say. No I/O.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use holdfast_types::Ttl;
use serde::{Deserialize, Serialize};

use super::lifecycle::Kind;

/// How long the old credential's sessions may go on after everybody has the new one.
const DRAIN: Duration = Duration::from_secs(30);

/// How a secret is rotated. It stays the same for the whole rotation, whoever goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What is rotated.
    pub(crate) kind: Kind,
    /// The field that is changed.
    pub(crate) field: String,
    /// The field with the user's name.
    pub(crate) username_field: String,
    /// The password policy of the server that makes values; ours where none is named.
    pub(crate) policy: Option<String>,
    /// Where PostgreSQL is.
    pub(crate) database: Option<Database>,
    /// How long agents and consumers may take, in seconds.
    pub(crate) timeout: u64,
    /// How long the old credential's sessions may go on, in seconds.
    pub(crate) drain: u64,
    /// Whether a failure is left to an operator, and not rolled back.
    pub(crate) hold: bool,
    /// Whether the version before is destroyed in the end.
    pub(crate) destroy_old: bool,
    /// Whether it is known that no agent delivers the secret.
    pub(crate) without_agents: bool,
}

/// Where PostgreSQL is, and who may change roles there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Database {
    /// As libpq takes it, without user and password: `postgresql://db.local:5432/app`.
    pub(crate) connection: String,
    /// The PEM file of the authority of the server's certificate, on this machine.
    pub(crate) ca_file: Option<PathBuf>,
    /// The path of a credential that may change roles. None: each role changes itself.
    pub(crate) admin: Option<String>,
    /// The roles that take turns; empty with one alone.
    pub(crate) roles: Vec<String>,
}

/// What an operator says in addition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// In place of `rotate` in the metadata.
    pub(crate) method: Option<String>,
    /// In place of `rotate_field`.
    pub(crate) field: Option<String>,
    /// Agrees to the old password ending at once.
    pub(crate) single_role: bool,
    /// In place of `rotate_drain`.
    pub(crate) drain: Option<Duration>,
    /// In place of `rotate_ca_file`.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) hold: bool,
    pub(crate) destroy_old: bool,
    pub(crate) without_agents: bool,
}

impl Plan {
    /// The plan for a KV secret with this custom metadata.
    ///
    /// # Errors
    /// A secret that must not be rotated, or does not say how.
    pub(crate) fn of(metadata: &BTreeMap<String, String>, wishes: &Wishes) -> anyhow::Result<Self> {
        let text =
            |key: &str| metadata.get(key).map(String::as_str).filter(|text| !text.is_empty());
        refuse_keys(metadata)?;
        if let Some(unknown) =
            metadata.keys().find(|key| key.starts_with("rotate_") && !KNOWN.contains(&key.as_str()))
        {
            bail!("its metadata has {unknown}, which is not known: known are {}", KNOWN.join(", "));
        }
        let method = wishes.method.as_deref().or(text("rotate")).context(
            "it does not say how it is rotated. Set rotate=postgres, rotate=value or rotate=never \
             in its custom metadata (vault kv metadata put -custom-metadata=rotate=value ...), or \
             give --as value",
        )?;
        let drain = match (wishes.drain, text("rotate_drain")) {
            (Some(drain), _) => drain,
            (None, Some(text)) => Ttl::parse(text).context("rotate_drain")?.0,
            (None, None) => DRAIN,
        };
        let (kind, database) = match method {
            "value" => (Kind::Value, None),
            "postgres" => {
                let database = Database {
                    connection: text("rotate_connection")
                        .context("rotate=postgres needs rotate_connection in the metadata, such as postgresql://db.local:5432/app")?
                        .to_owned(),
                    ca_file: wishes.ca_file.clone().or(text("rotate_ca_file").map(PathBuf::from)),
                    admin: text("rotate_admin").map(|path| path.trim_matches('/').to_owned()),
                    roles: roles(text("rotate_roles"))?,
                };
                (kind_of(&database, text("rotate_single_role"), wishes)?, Some(database))
            }
            other => bail!("rotate={other} is not known: postgres, value or never"),
        };
        Ok(Self {
            field: wishes
                .field
                .as_deref()
                .or(text("rotate_field"))
                .unwrap_or("password")
                .to_owned(),
            username_field: text("rotate_username_field").unwrap_or("username").to_owned(),
            policy: text("rotate_policy").map(str::to_owned),
            drain: drain.as_secs(),
            ..Self::bare(kind, database, wishes)
        })
    }

    /// The plan for a static role of a database engine.
    pub(crate) fn of_engine(wishes: &Wishes) -> Self {
        Self::bare(Kind::EngineRole, None, wishes)
    }

    fn bare(kind: Kind, database: Option<Database>, wishes: &Wishes) -> Self {
        Self {
            kind,
            field: "password".to_owned(),
            username_field: "username".to_owned(),
            policy: None,
            database,
            timeout: wishes.timeout.as_secs(),
            drain: DRAIN.as_secs(),
            hold: wishes.hold,
            destroy_old: wishes.destroy_old,
            without_agents: wishes.without_agents,
        }
    }

    /// The fields that a rotation changes.
    pub(crate) fn credential(&self) -> Vec<&str> {
        match self.database {
            Some(_) => vec![&*self.username_field, &*self.field],
            None => vec![&*self.field],
        }
    }

    /// The role that comes after `current`, which is itself where it is alone.
    ///
    /// # Errors
    /// The secret names a role that does not take turns.
    pub(crate) fn next_role(&self, current: &str) -> anyhow::Result<String> {
        let roles = self.database.as_ref().map_or(&[][..], |database| &database.roles);
        if roles.is_empty() {
            return Ok(current.to_owned());
        }
        ensure!(
            roles.iter().any(|role| role == current),
            "the secret is of the role {current}, which is not in rotate_roles={}",
            roles.join(",")
        );
        let other = roles.iter().find(|role| *role != current);
        other.cloned().context("rotate_roles names two roles")
    }
}

/// What metadata may say beside `rotate`.
const KNOWN: [&str; 9] = [
    "rotate_admin",
    "rotate_ca_file",
    "rotate_connection",
    "rotate_drain",
    "rotate_field",
    "rotate_policy",
    "rotate_roles",
    "rotate_single_role",
    "rotate_username_field",
];

/// Keys under which other things lie encrypted: with another key nobody could read those any more.
fn refuse_keys(metadata: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let is = |key: &str, value: &str| metadata.get(key).is_some_and(|text| text == value);
    ensure!(
        !is("at_rest_key", "true"),
        "it is an at-rest key (at_rest_key=true in its metadata): what was encrypted with it could \
         not be read any more. Encrypt that anew with a key of its own first"
    );
    ensure!(!is("rotate", "never"), "its metadata says rotate=never");
    Ok(())
}

fn roles(text: Option<&str>) -> anyhow::Result<Vec<String>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let roles: Vec<String> = text.split(',').map(|role| role.trim().to_owned()).collect();
    let [one, other] = &roles[..] else {
        bail!("rotate_roles={text}: expected two roles, such as app_a,app_b")
    };
    ensure!(
        one != other && !one.is_empty() && !other.is_empty(),
        "rotate_roles={text}: expected two different roles"
    );
    Ok(roles)
}

fn kind_of(database: &Database, declared: Option<&str>, wishes: &Wishes) -> anyhow::Result<Kind> {
    if !database.roles.is_empty() {
        ensure!(
            database.admin.is_some(),
            "with rotate_roles, rotate_admin names a credential that may change both: the path of \
             a secret, or of a database engine's creds/<role>"
        );
        return Ok(Kind::DualRole);
    }
    ensure!(
        wishes.single_role || declared == Some("true"),
        "it has one role, whose old password ends as soon as the new one begins: consumers fail \
         until they have taken it up. Name two roles that take turns by rotate_roles, or agree by \
         --single-role or rotate_single_role=true"
    );
    Ok(Kind::SingleRole)
}

#[cfg(test)]
mod tests;
