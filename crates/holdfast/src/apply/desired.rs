//! The platform directory, read: what is to be on the secrets server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Facts;
use super::facts::FactError;

/// Everything that is to be there, by API path, in the order in which it can be made: what others
/// need comes first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired(pub(crate) Vec<Object>);

/// One object of the secrets server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// Its API path without `/v1/`, such as `auth/approle/role/backend`.
    pub(crate) path: String,
    /// Its fields, with facts filled in.
    pub(crate) fields: Map<String, Value>,
    /// The file that says so, below the platform directory.
    pub(crate) file: PathBuf,
}

/// Why the directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredError {
    /// The file system said no.
    #[error("read {}", path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not JSON, or not an object.
    #[error("{}: not a JSON object", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A fact that the platform does not know.
    #[error("{}", path.display())]
    Fact {
        /// The file.
        path: PathBuf,
        /// Which.
        #[source]
        source: FactError,
    },
    /// A file that would put a secret's value, or a one-time action, into the directory.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, and what to do instead.
        why: &'static str,
    },
}

/// A file of the directory can be this large: a policy or a role, never a data set.
const MAX_FILE: u64 = 1 << 20;
/// Where policies are on a secrets server.
pub(crate) const POLICIES: &str = "sys/policies/acl/";

impl Desired {
    /// Reads `vault/**.json` and `policies/*.hcl` below `directory`.
    pub(crate) fn read(directory: &Path, facts: &Facts) -> Result<Self, DesiredError> {
        let mut desired = Self::read_without_facts(directory)?;
        for object in &mut desired.0 {
            // Policies are the operator's to the letter.
            if object.path.starts_with(POLICIES) {
                continue;
            }
            for value in object.fields.values_mut() {
                complete(value, facts).map_err(|source| DesiredError::Fact {
                    path: directory.join(&object.file),
                    source,
                })?;
            }
        }
        Ok(desired)
    }

    /// The same with facts left as `${name}`: what can be known before a platform was started.
    pub(crate) fn read_without_facts(directory: &Path) -> Result<Self, DesiredError> {
        let mut objects = BTreeMap::new();
        for (name, file) in files(&directory.join("policies"), "hcl")? {
            let text = read(&file)?;
            let fields = Map::from_iter([("policy".to_owned(), Value::String(text))]);
            let path = format!("{POLICIES}{name}");
            objects.insert(path.clone(), Object { path, fields, file: relative(directory, &file) });
        }
        for (path, file) in files(&directory.join("vault"), "json")? {
            if let Some(why) = refusal(&path) {
                return Err(DesiredError::Refused { path: file, why });
            }
            let text = read(&file)?;
            let fields: Map<String, Value> = serde_json::from_str(&text)
                .map_err(|source| DesiredError::Json { path: file.clone(), source })?;
            objects.insert(path.clone(), Object { path, fields, file: relative(directory, &file) });
        }
        let mut desired = Self::default();
        desired.add(objects.into_values());
        Ok(desired)
    }

    /// Adds what no file of its own names.
    pub(crate) fn add(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.0.extend(objects);
        self.0.sort_by_key(|object| rank(&object.path));
    }
}

/// What must exist before what: a role needs its mount, and its policies should be there before
/// anybody can log in with it.
pub(crate) fn rank(path: &str) -> u8 {
    let within = |prefix: &str| path.starts_with(prefix);
    if within("sys/audit/") {
        0
    } else if within("sys/mounts/") || within("sys/auth/") {
        1
    } else if within("sys/policies/") {
        2
    } else if within("sys/") {
        3
    } else if path.ends_with("/config") || path.contains("/config/") {
        4
    } else {
        5
    }
}

/// Why a path does not belong into a directory that may be public and is applied again and again.
fn refusal(path: &str) -> Option<&'static str> {
    let segments: Vec<_> = path.split('/').collect();
    if path.starts_with(POLICIES) || path.starts_with("sys/policy/") {
        return Some("policies stand in policies/<name>.hcl");
    }
    if segments.iter().any(|segment| matches!(*segment, "login" | "creds" | "issue" | "secret-id"))
    {
        return Some("this path acts each time it is written; it cannot be kept in a state");
    }
    let data = segments.get(1) == Some(&"data") && !matches!(segments[0], "sys" | "auth");
    data.then_some("secrets do not belong into the platform directory: write them with `kv put`")
}

/// Every `*.<extension>` below `root`, by its path below it without the extension.
fn files(root: &Path, extension: &str) -> Result<BTreeMap<String, PathBuf>, DesiredError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let wrong = |source| DesiredError::Read { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder == root => break,
            Err(error) => return Err(wrong(error)),
        };
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(wrong)?.is_dir() {
                folders.push((entry.path(), format!("{prefix}{name}/")));
            } else if let Some(stem) = name.strip_suffix(&format!(".{extension}")) {
                found.insert(format!("{prefix}{stem}"), entry.path());
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, DesiredError> {
    let wrong = |source| DesiredError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(wrong)?.len() > MAX_FILE {
        return Err(DesiredError::Refused { path: path.to_owned(), why: "larger than 1 MiB" });
    }
    fs::read_to_string(path).map_err(wrong)
}

fn relative(directory: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(directory).unwrap_or(file).to_owned()
}

fn complete(value: &mut Value, facts: &Facts) -> Result<(), FactError> {
    match value {
        Value::String(text) => *text = facts.complete(text)?,
        Value::Array(items) => {
            for item in items {
                complete(item, facts)?;
            }
        }
        Value::Object(map) => {
            for item in map.values_mut() {
                complete(item, facts)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
