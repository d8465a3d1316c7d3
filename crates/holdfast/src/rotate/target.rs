//! Which secret is meant: asked of the server, because a path does not tell where its mount ends.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use holdfast_client::vault::VaultClient;
use serde_json::Value;

/// What is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A secret of a KV mount that keeps versions.
    Kv {
        /// The mount, without a slash at its end.
        mount: String,
        /// The secret below it.
        name: String,
    },
    /// A static role of a database engine.
    Engine {
        /// The mount, without a slash at its end.
        mount: String,
        /// The role.
        role: String,
    },
}

impl Target {
    /// Finds what `path` leads to.
    ///
    /// # Errors
    /// Something that is not rotated, with the reason.
    pub(crate) async fn find(client: &VaultClient, path: &str) -> anyhow::Result<Self> {
        let question = format!("sys/internal/ui/mounts/{path}");
        let reply = client.read(&question, &[]).await;
        let reply = reply.with_context(|| format!("ask where {path} is mounted"))?;
        let data = reply.and_then(|reply| reply.data).context("nothing is mounted there")?;
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = data.get("options").and_then(|options| options.get("version"));
        let versioned = version.and_then(Value::as_str) == Some("2");
        Self::of(path, text("path"), text("type"), versioned)
    }

    fn of(path: &str, mount: &str, kind: &str, versioned: bool) -> anyhow::Result<Self> {
        let mut mount = mount.trim_end_matches('/');
        // In a namespace the server names the mount with the namespace before it.
        let rest = loop {
            match (path.strip_prefix(mount), mount.split_once('/')) {
                (Some(rest), _) => break rest.trim_matches('/'),
                (None, Some((_, inner))) => mount = inner,
                (None, None) => bail!("the server's mount {mount} is not where {path} is"),
            }
        };
        let mount = mount.to_owned();
        match kind {
            "kv" | "generic" => {
                ensure!(
                    versioned,
                    "{mount} keeps no versions, so that nothing could be rolled back: \
                     vault kv enable-versioning {mount}"
                );
                ensure!(!rest.is_empty(), "{path} is a mount, not a secret");
                let inside = rest.strip_prefix("data/").map(|inner| format!("{mount}/{inner}"));
                if let Some(inside) = inside {
                    bail!("{path} is the API's path: the secret is {inside}");
                }
                Ok(Self::Kv { mount, name: rest.to_owned() })
            }
            "database" => {
                let role =
                    rest.strip_prefix("static-roles/").or(rest.strip_prefix("static-creds/"));
                let role = role.with_context(|| {
                    format!(
                        "of a database engine only static roles are rotated, as \
                         {mount}/static-creds/<role>: other users end with their leases"
                    )
                })?;
                Ok(Self::Engine { mount, role: role.to_owned() })
            }
            "transit" => bail!(
                "the keys of {mount} encrypt what lies elsewhere: they get new versions by vault \
                 write -f {mount}/keys/<name>/rotate, and keep the old ones for reading"
            ),
            other => bail!("{mount} is a mount of the type {other}, which has nothing to rotate"),
        }
    }

    /// Where agents read it: the path of the API.
    pub(crate) fn read_path(&self) -> String {
        match self {
            Self::Kv { mount, name } => format!("{mount}/data/{name}"),
            Self::Engine { mount, role } => format!("{mount}/static-creds/{role}"),
        }
    }

    /// Its one name, however it was written.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Kv { mount, name } => format!("{mount}/{name}"),
            Self::Engine { .. } => self.read_path(),
        }
    }
}

/// The KV mounts with versions that the caller may see, without slashes at their ends.
pub(crate) async fn versioned_mounts(client: &VaultClient) -> anyhow::Result<Vec<String>> {
    let reply = client.read("sys/internal/ui/mounts", &[]).await.context("ask for the mounts")?;
    let mut data = reply.and_then(|reply| reply.data).unwrap_or_default();
    let mounts = data.remove("secret").unwrap_or_default();
    let mounts: BTreeMap<String, Value> = serde_json::from_value(mounts).unwrap_or_default();
    let versioned = mounts
        .into_iter()
        .filter(|(_, mount)| mount["type"] == "kv" && mount["options"]["version"] == "2");
    Ok(versioned.map(|(path, _)| path.trim_end_matches('/').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_secrets_and_static_roles() {
        for (path, mount, kind, versioned, want) in [
            ("kv/app/db", "kv/", "kv", true, Ok(("kv/data/app/db", "kv/app/db"))),
            ("a/b/c", "a/b/", "kv", true, Ok(("a/b/data/c", "a/b/c"))),
            ("kv/app", "team/kv/", "kv", true, Ok(("kv/data/app", "kv/app"))),
            ("kv/app", "kv/", "kv", false, Err("enable-versioning kv")),
            ("kv", "kv/", "kv", true, Err("not a secret")),
            ("kv/data/app", "kv/", "kv", true, Err("the secret is kv/app")),
            (
                "db/static-roles/x",
                "db/",
                "database",
                false,
                Ok(("db/static-creds/x", "db/static-creds/x")),
            ),
            ("db/creds/x", "db/", "database", false, Err("only static roles")),
            ("transit/keys/x", "transit/", "transit", false, Err("encrypt what lies elsewhere")),
            ("pki/cert/ca", "pki/", "pki", false, Err("nothing to rotate")),
        ] {
            match (Target::of(path, mount, kind, versioned), want) {
                (Ok(target), Ok((read, name))) => {
                    assert_eq!((&*target.read_path(), &*target.path()), (read, name), "{path}");
                }
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (got, _) => panic!("{path}: {got:?}"),
            }
        }
    }
}
