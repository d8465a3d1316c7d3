//! From a path to the mount that answers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_barrier::View;
use holdfast_logical::{Backend, MountInfo, Route, SpecialPaths};

use super::MountClass;
use super::entry::MountEntry;
use crate::core::Limits;

/// A mount that is there.
pub(crate) struct Mount {
    pub entry: MountEntry,
    pub info: Arc<MountInfo>,
    pub target: Target,
    pub special: SpecialPaths,
    /// What it stores.
    pub view: View,
}

/// Who answers.
#[derive(Clone)]
pub(crate) enum Target {
    /// `sys/`
    System,
    /// `auth/token/`
    Token,
    /// `identity/`
    Identity,
    /// Whatever the registry built.
    Backend(Arc<dyn Backend>),
}

impl Mount {
    /// The backend, if it is one.
    pub(crate) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        match &self.target {
            Target::Backend(backend) => Some(backend),
            _ => None,
        }
    }

    /// The same backend with another row of the table.
    pub(crate) fn with_entry(&self, entry: MountEntry, limits: Limits) -> Self {
        Self {
            info: Arc::new(entry.info(limits)),
            entry,
            target: self.target.clone(),
            special: self.special.clone(),
            view: self.view.clone(),
        }
    }

    /// What it serves.
    pub(crate) fn routes(&self) -> &'static [Route] {
        match &self.target {
            Target::System => crate::sys::routes::ROUTES,
            Target::Token => crate::tokens::routes::ROUTES,
            Target::Identity => crate::identity::ROUTES,
            Target::Backend(backend) => backend.routes(),
        }
    }

    /// How API documents group it.
    pub(crate) fn tag(&self) -> &'static str {
        match (&self.target, self.entry.class) {
            (Target::System, _) => "system",
            (Target::Identity, _) => "identity",
            (_, MountClass::Auth) => "auth",
            (_, MountClass::Secret) => "secrets",
        }
    }

    /// What its help says of `path`, besides what the routes say.
    pub(crate) fn about(&self, path: &str) -> Option<String> {
        let text = match &self.target {
            Target::System => "The server itself: mounts, policies, leases, audit, keys.",
            Target::Token => "Tokens: made, looked up, renewed and revoked.",
            Target::Identity => "Who the tokens act for, across login methods.",
            Target::Backend(backend) => return backend.help(path),
        };
        path.is_empty().then(|| text.to_owned())
    }

    /// `path`, a full one, in the one spelling that policies and the audit log know.
    pub(crate) fn canonical(&self, path: String) -> String {
        let Some(below) = path.strip_prefix(self.info.path.as_str()) else { return path };
        let canonical = match &self.target {
            Target::System => crate::sys::canonical(below),
            Target::Token | Target::Identity => None,
            Target::Backend(backend) => backend.canonical(below),
        };
        canonical.map_or(path.clone(), |below| format!("{}{below}", self.info.path))
    }
}

/// All mounts by where they are: `kv/`, `auth/approle/`.
#[derive(Clone, Default)]
pub(crate) struct Router(BTreeMap<String, Arc<Mount>>);

impl Router {
    pub(crate) fn insert(&mut self, mount: Arc<Mount>) {
        self.0.insert(mount.entry.prefix(), mount);
    }

    pub(crate) fn remove(&mut self, prefix: &str) {
        self.0.remove(prefix);
    }

    /// The mount at exactly `prefix`.
    pub(crate) fn at(&self, prefix: &str) -> Option<&Arc<Mount>> {
        self.0.get(prefix)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.0.values()
    }

    /// The mount with the longest prefix of `path`. `kv` is found as `kv/`.
    pub(crate) fn longest(&self, path: &str) -> Option<&Arc<Mount>> {
        if !path.ends_with('/')
            && let Some(mount) = self.0.get(&format!("{path}/"))
        {
            return Some(mount);
        }
        let ends = path.rmatch_indices('/').map(|(at, _)| at + 1);
        ends.filter_map(|end| self.0.get(&path[..end])).next()
    }

    /// The mount that is in the way of a new one at `prefix`.
    pub(crate) fn conflict(&self, prefix: &str) -> Option<&Arc<Mount>> {
        self.0.values().find(|mount| {
            let places = [Some(mount.entry.prefix()), mount.entry.moving_to.clone()];
            places
                .iter()
                .flatten()
                .any(|other| prefix.starts_with(other.as_str()) || other.starts_with(prefix))
        })
    }
}

/// Whether `path` is among `patterns`: a trailing `*` stands for any rest, a `+` segment for any
/// one segment.
pub(crate) fn is_among(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, path))
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    if !pattern.contains('+') {
        return if open { path.starts_with(pattern) } else { path == pattern };
    }
    let mut segments = path.split('/');
    let mut parts = pattern.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let Some(segment) = segments.next() else { return false };
        let same = match (part, last && open) {
            ("+", _) => true,
            (part, true) => segment.starts_with(part),
            (part, false) => segment == part,
        };
        if !same {
            return false;
        }
    }
    open || segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn special_paths_know_a_star_and_plus() {
        for (pattern, path, want) in [
            ("login", "login", true),
            ("login", "login/x", false),
            ("login/*", "login/x/y", true),
            ("login/*", "login", false),
            ("role/+/id", "role/a/id", true),
            ("role/+/id", "role/a/b/id", false),
            ("role/+/id", "role/a/id/x", false),
            ("role/+/id*", "role/a/identity/x", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, path), want, "{pattern} {path}");
        }
    }
}
