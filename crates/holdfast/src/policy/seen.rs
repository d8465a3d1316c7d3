//! Policies as they lie in files, with what is known of the platform around them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use holdfast_hcl::Position;
use holdfast_policy::{Policy, PolicyError, SeenMount, lint, position_of};
use serde_json::Value;

use crate::finding::{File, Finding};

/// A file of a directory can be this large, as for `holdfast apply`.
const MAX_FILE: u64 = 1 << 20;
/// The kind of finding that leaves nothing to look at.
pub(super) const NO_POLICY: &str = "no-policy";

/// What is looked at.
#[derive(Default)]
pub(crate) struct Seen {
    /// Policies, or what should be.
    pub(crate) files: Vec<File>,
    /// The mounts that are known.
    pub(crate) mounts: Vec<SeenMount>,
    /// Names of policies that files of a platform give to somebody, with the file.
    given: BTreeMap<String, PathBuf>,
    is_platform: bool,
}

impl Seen {
    /// Takes in a policy, a directory of them, or a platform directory.
    pub(crate) fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        if !path.is_dir() {
            return self.add_file(path);
        }
        let platform = path.join("holdfast.toml").exists();
        let folder = if platform { path.join("policies") } else { path.to_owned() };
        let before = self.files.len();
        for file in files(&folder, "hcl")? {
            self.add_file(&file)?;
        }
        if platform {
            self.is_platform = true;
            for file in files(&path.join("vault/sys/mounts"), "json")? {
                let row = object(&file)?;
                self.mounts.push(mount(&format!("{}/", name_of(&file)), &row));
            }
            let (services, _) = crate::platform::config::deliveries(path)?;
            for (policies, _) in services {
                for name in policies {
                    self.given.entry(name).or_insert_with(|| path.join("holdfast.toml"));
                }
            }
            for file in deep_files(&path.join("vault"))? {
                for name in given(&object(&file)?) {
                    self.given.entry(name).or_insert_with(|| file.clone());
                }
            }
        } else if self.files.len() == before {
            bail!("{}: there is no policy, that is, no file named .hcl", path.display());
        }
        Ok(())
    }

    pub(crate) fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        self.files.push(File { path: path.to_owned(), text: read(path)?.into() });
        Ok(())
    }

    /// What is wrong with each policy by itself, and those that are policies.
    pub(crate) fn findings(&self) -> (Vec<Finding>, Vec<Arc<Policy>>) {
        let (mut findings, mut policies) = (Vec::new(), Vec::new());
        for file in &self.files {
            let name = name_of(&file.path);
            match lint(&name, &file.text, &self.mounts) {
                Ok(found) => findings.extend(found.into_iter().map(|one| Finding {
                    file: file.clone(),
                    at: Some(Position { line: one.line, column: one.column }),
                    also: Vec::new(),
                    rule: one.code,
                    message: one.message,
                    fix: one.fix,
                })),
                Err(error) => findings.push(unreadable(file, &error)),
            }
            policies.extend(Policy::parse(&name, &file.text).ok().map(Arc::new));
        }
        (findings, policies)
    }

    /// Of a platform: policies that nobody is given, and those that are given and not there.
    pub(crate) fn unused(&self) -> Vec<Finding> {
        // `holdfast login` gives this one; the server itself the other.
        const ALWAYS: [&str; 3] = ["operator", "default", "root"];
        if !self.is_platform {
            return Vec::new();
        }
        let names: BTreeSet<String> = self.files.iter().map(|file| name_of(&file.path)).collect();
        let unused = self.files.iter().filter(|file| {
            let name = name_of(&file.path);
            !self.given.contains_key(&name) && !ALWAYS.contains(&name.as_str())
        });
        let unused = unused.map(|file| Finding {
            file: file.clone(),
            at: None,
            also: Vec::new(),
            rule: "unused-policy",
            message: format!(
                "{}: no role of the platform is given this policy",
                file.path.display()
            ),
            fix: "name it at a role, or remove it".to_owned(),
        });
        let missing = self
            .given
            .iter()
            .filter(|(name, _)| !names.contains(*name) && !ALWAYS.contains(&name.as_str()));
        let missing = missing.map(|(name, file)| Finding {
            file: File { path: file.clone(), text: "".into() },
            at: None,
            also: Vec::new(),
            rule: "missing-policy",
            message: format!("{}: names the policy {name}, which is not there", file.display()),
            fix: format!("write policies/{name}.hcl, or correct the name"),
        });
        unused.chain(missing).collect()
    }
}

/// The names of policies in the fields that give them.
pub(crate) fn given(fields: &Value) -> Vec<String> {
    let fields = ["token_policies", "policies", "allowed_policies"].map(|name| &fields[name]);
    let mut names = Vec::new();
    for field in fields {
        match field {
            Value::String(list) => names.extend(list.split(',').map(|name| name.trim().to_owned())),
            Value::Array(list) => {
                names.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

pub(super) fn mount(path: &str, row: &Value) -> SeenMount {
    let kv2 = match row["type"].as_str() {
        Some("kv-v2") => true,
        Some("kv") => row["options"]["version"] == "2" || row["options"]["version"] == 2,
        _ => false,
    };
    SeenMount { path: path.to_owned(), kv2 }
}

fn unreadable(file: &File, error: &PolicyError) -> Finding {
    Finding {
        file: file.clone(),
        at: position_of(error),
        also: Vec::new(),
        rule: NO_POLICY,
        message: error.to_string(),
        fix: "no server takes this policy: correct it first".to_owned(),
    }
}

/// A file's name without its ending: a policy's name.
pub(crate) fn name_of(file: &Path) -> String {
    file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads a file of a directory, bounded.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).with_context(|| format!("read {}", path.display()))?.len();
    if size > MAX_FILE {
        bail!("{}: larger than {MAX_FILE} bytes", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn object(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{}: no JSON", path.display()))
}

/// The files of a folder with that ending, sorted; none where there is no folder.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All JSON files below a folder.
fn deep_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        found.extend(files(&folder, "json")?);
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            // A link could lead round in a circle.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
