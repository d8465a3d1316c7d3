//! `kv`: secrets as key and value, with versions or without.
//!
//! Whether a mount keeps versions is asked of the server first; the paths of the two kinds differ.

mod delete;
mod get;
mod list;
mod metadata;
mod patch;
mod put;
mod rollback;
mod versioning;

use clap::{Args, Subcommand};
use holdfast_client::vault::{Method, Response, VaultClient};
use serde_json::{Map, Value};

use super::connection::explain;
use super::output::{Format, print_line, print_map};
use super::path::{join, sanitize};
use super::secret::Secret;
use super::{Failure, Outcome};

/// Keep secrets as key and value.
#[derive(Debug, Subcommand)]
pub(super) enum Kv {
    Put(put::Put),
    Get(get::Get),
    List(list::List),
    Scan(list::Scan),
    Patch(patch::Patch),
    Delete(delete::Delete),
    Undelete(delete::Undelete),
    Destroy(delete::Destroy),
    Rollback(rollback::Rollback),
    /// Settings and history of a secret, without its values.
    #[command(subcommand)]
    Metadata(metadata::Metadata),
    EnableVersioning(versioning::EnableVersioning),
}

impl Kv {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Put(command) => command.run().await,
            Self::Get(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Scan(command) => command.run().await,
            Self::Patch(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Undelete(command) => command.run().await,
            Self::Destroy(command) => command.run().await,
            Self::Rollback(command) => command.run().await,
            Self::Metadata(command) => command.run().await,
            Self::EnableVersioning(command) => command.run().await,
        }
    }
}

/// Which secret is meant.
#[derive(Debug, Args)]
struct Key {
    /// The secret: `mount/name`, or only its name with -mount
    path: String,
    #[command(flatten)]
    mount: MountFlag,
}

#[derive(Debug, Args)]
struct MountFlag {
    /// The mount; the argument is then the name below it
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
}

/// A secret, found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The mount with its trailing slash, as the server names it.
    mount: String,
    /// The path, the mount's included.
    path: String,
    /// Whether the mount keeps versions.
    pub(super) versioned: bool,
}

impl Key {
    async fn locate(&self, client: &VaultClient) -> Result<Location, Failure> {
        self.mount.locate(client, &self.path).await
    }
}

impl MountFlag {
    /// Asks the server where `path` is mounted, and whether with versions.
    async fn locate(&self, client: &VaultClient, path: &str) -> Result<Location, Failure> {
        let path = sanitize(path);
        match self.mount.as_deref().filter(|mount| !mount.is_empty()) {
            None => Location::find(client, path).await,
            Some(mount) => {
                let (mount, versioned) = preflight(client, sanitize(mount)).await?;
                let path = join(&[&mount, path]);
                Ok(Location { mount, path, versioned })
            }
        }
    }
}

impl Location {
    /// Asks the server where `path` is mounted, and whether with versions.
    pub(super) async fn find(client: &VaultClient, path: &str) -> Result<Self, Failure> {
        let (mount, versioned) = preflight(client, path).await?;
        Ok(Self { mount, path: path.to_owned(), versioned })
    }

    /// The same secret where the path named one of its faces already, such as `kv/data/name`.
    pub(super) fn without_face(mut self) -> Self {
        let name = self.path.strip_prefix(self.mount.as_str()).filter(|_| self.versioned);
        let faces = ["data", "metadata"];
        let inner = name.and_then(|name| faces.iter().find_map(|face| name.strip_prefix(face)));
        if let Some(inner) = inner.filter(|inner| inner.is_empty() || inner.starts_with('/')) {
            self.path = join(&[&self.mount, inner]);
        }
        self
    }

    /// What is called `name` below it.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { mount: self.mount.clone(), path: join(&[&self.path, name]), ..*self }
    }

    /// The API path of one of the secret's faces: `data`, `metadata`, `delete`, ... A mount
    /// without versions has but one face.
    pub(super) fn face(&self, face: &str) -> String {
        if !self.versioned {
            return self.path.clone();
        }
        if self.path == self.mount.trim_end_matches('/') {
            return join(&[&self.mount, face]);
        }
        // In a namespace the server names the mount with the namespace before it.
        let mut mount = self.mount.as_str();
        loop {
            match (self.path.strip_prefix(mount), mount.split_once('/')) {
                (Some(rest), _) => return join(&[mount, face, rest]),
                (None, Some((_, inner))) if !inner.is_empty() => mount = inner,
                (None, _) => return join(&[mount, face, &self.path]),
            }
        }
    }
}

/// The mount of `path` and whether it keeps versions. A server too old to be asked has mounts
/// without versions only.
async fn preflight(client: &VaultClient, path: &str) -> Result<(String, bool), Failure> {
    // Sent even where the command itself is only shown: what it would ask depends on the answer.
    let client = client.with_wrap_ttl(None).with_rehearsal(None);
    let question = format!("sys/internal/ui/mounts/{path}");
    let response = client.request(Method::GET, &question, None, &[]).await;
    let response = match response {
        Ok(response) if response.status == 404 => return Ok((String::new(), false)),
        other => other.and_then(Response::success),
    };
    let secret = response.and_then(|response| Secret::parse(&response));
    let secret = secret.map_err(|error| Failure::Request(explain(&error)))?;
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let mount = data.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = data.get("options").and_then(|options| options.get("version"));
    Ok((mount, version.and_then(Value::as_str) == Some("2")))
}

/// Prints the metadata of a new version, under its path.
fn print_written(format: Format, path: &str, secret: &Secret) -> Outcome {
    if format != Format::Table || secret.is_wrapped() {
        return super::output::print_secret(format, secret);
    }
    let empty = Map::new();
    let metadata = secret.data.as_ref().unwrap_or(&empty);
    print_path("Secret Path", path)?;
    print_line(&heading_over("Metadata", metadata))?;
    print_map(format, metadata)
}

/// Prints `path` under a heading, and an empty line.
fn print_path(title: &str, path: &str) -> Outcome {
    print_line(&format!("{}\n{path}\n", heading(title, path.len())))
}

/// A heading as wide as the table of `map`.
fn heading_over(title: &str, map: &Map<String, Value>) -> String {
    let longest = map.keys().map(String::len).max().unwrap_or_default();
    // Four spaces between the columns, and the word "Value".
    heading(title, longest + 4 + 5)
}

/// `title` between equal signs, `width` characters wide where it fits.
fn heading(title: &str, width: usize) -> String {
    let signs = match width.saturating_sub(title.len() + 2) {
        0 => 4,
        signs => signs.next_multiple_of(2),
    };
    let side = "=".repeat(signs / 2);
    format!("{side} {title} {side}")
}

/// The numbers in `-versions=1,2 -versions=3`.
fn versions(flags: &[String]) -> Value {
    let numbers = flags.iter().flat_map(|flag| flag.split(','));
    numbers.map(str::trim).filter(|number| !number.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_face_comes_after_the_mount() {
        for (mount, path, versioned, want) in [
            ("secret/", "secret/app", true, "secret/data/app"),
            ("secret/", "secret", true, "secret/data"),
            ("a/b/", "a/b/c/d", true, "a/b/data/c/d"),
            ("team/secret/", "secret/app", true, "secret/data/app"),
            ("kv1/", "kv1/app", false, "kv1/app"),
        ] {
            let location = Location { mount: mount.into(), path: path.into(), versioned };
            assert_eq!(location.face("data"), want);
        }
    }

    #[test]
    fn headings_are_as_wide_as_what_they_head() {
        assert_eq!(heading("Data", 14), "==== Data ====");
        assert_eq!(heading("Metadata", 3), "== Metadata ==");
    }
}
