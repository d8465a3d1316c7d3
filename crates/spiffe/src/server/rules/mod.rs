//! Entries that files declare: `identity/*.yaml`, in the shapes of SPIRE's controller manager.
//!
//! A `ClusterStaticEntry` is an entry; a `ClusterSPIFFEID` is a rule that gives each workload of the
//! platform that it selects an entry of its own, whose ID is a template over the workload's
//! attributes. Pure but for [`Declared::read`]. Where anything in the files is wrong, nothing of them
//! is taken: what was in force stays.

mod model;
mod read;
mod render;
mod selector;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use holdfast_types::{SpiffeId, TrustDomain};

pub use model::Workload;

use super::registrar::MAX_ENTRIES;
use crate::Entry;

/// No file is longer, in bytes, nor all of them together.
const LARGEST_FILE: u64 = 4 << 20;
const LARGEST_IN_ALL: usize = 64 << 20;
const MAX_FILES: usize = 10_000;

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was given.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// Everything that is wrong in the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// Where the server itself stands.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    /// The server's trust domain.
    pub trust_domain: TrustDomain,
    /// `.ClusterName` of templates.
    pub cluster: String,
    /// `.ClusterDomain` of templates.
    pub cluster_domain: String,
    /// Whose entries the rules make: the agent of this machine.
    pub parent: SpiffeId,
}

/// Files as they were read: their names and texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// `identity/*.yaml`
    pub rules: Vec<(String, String)>,
    /// The platform's workloads.
    pub workloads: Option<(String, String)>,
}

/// What tells files apart without reading them.
pub(super) type Signature = Vec<(PathBuf, Option<(u64, i64, i64, u64)>)>;

/// What the files look like from outside: their places, sizes and times.
pub(super) fn signature(directory: Option<&Path>, workloads: Option<&Path>) -> Signature {
    use std::os::unix::fs::MetadataExt as _;
    let mut paths = directory.and_then(|directory| list(directory).ok()).unwrap_or_default();
    paths.extend(directory.map(Path::to_owned));
    paths.extend(workloads.map(Path::to_owned));
    let look = |path: PathBuf| {
        let found = std::fs::metadata(&path).ok();
        let seen = found.map(|it| (it.ino(), it.mtime(), it.mtime_nsec(), it.size()));
        (path, seen)
    };
    paths.into_iter().map(look).collect()
}

/// `*.yaml` and `*.yml` of a directory, by name.
fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    let is_yaml = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        extension == "yaml" || extension == "yml"
    };
    paths.retain(is_yaml);
    paths.sort();
    Ok(paths)
}

impl Declared {
    /// Reads `*.yaml` and `*.yml` of a directory, by name, and the file of workloads.
    ///
    /// # Errors
    /// What cannot be read, or is too long.
    pub fn read(directory: Option<&Path>, workloads: Option<&Path>) -> Result<Self, Problems> {
        let mut declared = Self::default();
        let mut problems = Vec::new();
        let mut paths = Vec::new();
        if let Some(directory) = directory {
            match list(directory) {
                Ok(found) if found.len() > MAX_FILES => {
                    problems.push(whole(directory, &format!("more than {MAX_FILES} files")));
                }
                Ok(found) => paths = found,
                Err(error) => problems.push(whole(directory, &error)),
            }
        }
        let mut length = 0;
        for path in paths {
            let read = read_file(&path);
            length += read.as_ref().map_or(0, String::len);
            if length > LARGEST_IN_ALL {
                problems.push(whole(&path, &format!("all files are over {LARGEST_IN_ALL} bytes")));
                break;
            }
            match read {
                Ok(text) => declared.rules.push((path.display().to_string(), text)),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(path) = workloads {
            match read_file(path) {
                Ok(text) => declared.workloads = Some((path.display().to_string(), text)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(declared) } else { Err(Problems(problems)) }
    }

    /// The entries that the files declare.
    ///
    /// # Errors
    /// All that is wrong with them, each by its file and line.
    pub fn entries(&self, settings: &RuleSettings) -> Result<Vec<Entry>, Problems> {
        self.entries_within(settings, MAX_ENTRIES)
    }

    fn entries_within(
        &self,
        settings: &RuleSettings,
        limit: usize,
    ) -> Result<Vec<Entry>, Problems> {
        let mut problems = Vec::new();
        let mut objects = Vec::new();
        for (file, text) in &self.rules {
            objects.extend(read::objects(file, text, &mut problems));
        }
        let workloads = match &self.workloads {
            Some((file, text)) => read::workloads(file, text, &mut problems),
            None => Vec::new(),
        };
        read::check_names(&objects, &mut problems);
        let entries = render::entries(&objects, &workloads, settings, limit, &mut problems);
        if problems.is_empty() {
            return Ok(entries);
        }
        problems.sort();
        problems.dedup();
        Err(Problems(problems))
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut text = String::new();
    let mut options = std::fs::OpenOptions::new();
    // To open a pipe would wait for somebody who writes into it.
    options.read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let read = options.open(path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        file.take(LARGEST_FILE + 1).read_to_string(&mut text)
    });
    match read {
        Err(error) => Err(whole(path, &error)),
        Ok(length) if length as u64 > LARGEST_FILE => {
            Err(whole(path, &format!("longer than {LARGEST_FILE} bytes")))
        }
        Ok(_) => Ok(text),
    }
}

fn whole(path: &Path, what: &dyn fmt::Display) -> Problem {
    Problem { file: path.display().to_string(), line: 0, text: what.to_string() }
}

#[cfg(test)]
mod tests;
