//! Which mount a path belongs to, asked once for each mount.

use super::Request;

/// A mount, as far as its paths depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path, with a slash at its end.
    pub path: String,
    /// The version of a KV mount; none for other engines, and where the server does not tell.
    pub kv: Option<u8>,
}

impl Mount {
    fn holds(&self, path: &str) -> bool {
        path.starts_with(&self.path)
            || path.trim_end_matches('/') == self.path.trim_end_matches('/')
    }

    fn below<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.path).unwrap_or_default()
    }

    /// Where version 2 has the secret that `path` means.
    pub(super) fn data(&self, path: &str) -> String {
        let name = self.below(path);
        if name.starts_with("data/") || name.starts_with("metadata/") {
            return path.to_owned();
        }
        format!("{}data/{name}", self.path)
    }

    /// Where version 2 has the names below `path`.
    pub(super) fn metadata(&self, path: &str) -> String {
        let name = self.below(path);
        if name == "metadata" || name.starts_with("metadata/") {
            return path.to_owned();
        }
        format!("{}metadata/{name}", self.path).trim_end_matches('/').to_owned()
    }
}

/// The mounts that are known.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(super) fn add(&mut self, mount: Mount) {
        self.0.retain(|known| known.path != mount.path);
        self.0.push(mount);
    }

    /// The mount of `path`. Mounts do not nest.
    pub(super) fn of(&self, path: &str) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.holds(path))
    }

    /// `request` as it has to be made, or the question that has to be answered first.
    pub(super) fn resolve(&self, request: Request) -> Result<Request, Request> {
        match &request {
            Request::Read { path, .. } | Request::List { path } => match self.of(path) {
                Some(mount) => Ok(request.at(mount)),
                None => Err(Request::Mount { path: path.clone() }),
            },
            Request::Write { .. } | Request::Mount { .. } => Ok(request),
        }
    }
}
