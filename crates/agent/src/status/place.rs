//! Where agents keep what others look for.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::consumer::Former;
use crate::files;
use crate::generation::Folder;

/// The socket's name in an agent's directory.
const SOCKET: &str = "control.sock";

/// The directory of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePlace {
    /// Names the agent on this machine.
    pub name: String,
    /// What it keeps.
    pub directory: PathBuf,
    /// Where it is looked for.
    well_known: PathBuf,
}

impl StatePlace {
    /// That of the agent of these configuration files; in `chosen`, where the operator chose one.
    pub fn of(configs: &[PathBuf], chosen: Option<&Path>) -> Self {
        Self::below(&base(), configs, chosen)
    }

    fn below(base: &Path, configs: &[PathBuf], chosen: Option<&Path>) -> Self {
        let name = name_of(configs);
        let well_known = base.join(&name);
        let directory = chosen.map_or_else(|| well_known.clone(), Path::to_owned);
        Self { name, directory, well_known }
    }

    /// Makes the directory, and where that is another, a way to it from where it is looked for.
    ///
    /// # Errors
    /// It cannot be made, or is somebody else's.
    pub fn make(&self) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        if self.well_known == self.directory {
            return Ok(());
        }
        files::private_directory(&self.well_known)?;
        let link = self.well_known.join(SOCKET);
        let _ = fs::remove_file(&link);
        symlink(std::path::absolute(self.socket())?, link)
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Where generations are kept that have no better place. Others' processes read there.
    pub fn generations() -> PathBuf {
        match Uid::effective().is_root() {
            // Not below the agents' own directory, which is root's alone.
            true => PathBuf::from("/run/holdfast-delivered"),
            false => base().with_file_name("delivered"),
        }
    }

    /// Removes the socket and what else tells of a running agent, and the way to it.
    pub fn clear(&self) {
        Former::of(&self.directory).forget();
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.well_known.join(SOCKET));
        let _ = fs::remove_dir(&self.well_known);
    }
}

/// Removes the directory of a socket that is no more, where agents are looked for and nothing else
/// is kept there.
pub(super) fn forget(socket: &Path) {
    if let Some(directory) = socket.parent().filter(|path| path.parent() == Some(&base())) {
        let _ = fs::remove_dir(directory);
    }
}

/// The sockets of the caller's agents; for root, of the machine's.
pub fn sockets() -> Vec<PathBuf> {
    sockets_below(&base())
}

/// Lets others find the agent behind `socket`, which keeps that elsewhere or is another user's, by
/// [`sockets`] until it is withdrawn.
///
/// # Errors
/// There is no place for that.
pub fn announce(name: &str, socket: &Path) -> io::Result<()> {
    let place = base().join(name);
    files::private_directory(&place)?;
    let link = place.join(SOCKET);
    let _ = fs::remove_file(&link);
    symlink(std::path::absolute(socket)?, link)
}

/// Takes back all announcements whose name starts with `prefix`.
pub fn withdraw(prefix: &str) {
    let base = base();
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let link = entry.path().join(SOCKET);
        // One's own agents listen there themselves.
        let announced = fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink());
        if announced && entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = fs::remove_file(link);
            let _ = fs::remove_dir(entry.path());
        }
    }
    // Shared with others: it goes with the last.
    let _ = fs::remove_dir(&base).and_then(|()| fs::remove_dir(base.parent().unwrap_or(&base)));
}

fn sockets_below(base: &Path) -> Vec<PathBuf> {
    // What somebody else made there, before the caller did, speaks for no agent of the caller's.
    let ours = |folder: io::Result<Folder>| {
        let ours = folder.and_then(|folder| folder.check_ours().map(|()| folder));
        ours.ok().filter(Folder::is_known)
    };
    let Some(folder) = ours(Folder::open(base)) else { return Vec::new() };
    let names = folder.names().unwrap_or_default();
    let agents = names.iter().filter(|name| ours(folder.folder(name)).is_some());
    let mut sockets: Vec<_> = agents.map(|name| base.join(name).join(SOCKET)).collect();
    sockets.retain(|socket| socket.exists());
    sockets.sort();
    sockets
}

/// Where agents of this user are looked for.
fn base() -> PathBuf {
    let uid = Uid::effective();
    if uid.is_root() {
        return PathBuf::from("/run/holdfast/agent");
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|path| path.is_absolute() && path.is_dir()) {
        Some(runtime) => runtime.join("holdfast/agent"),
        None => PathBuf::from(format!("/dev/shm/holdfast-{uid}/agent")),
    }
}

/// A name from the first file's, and from where all are.
fn name_of(configs: &[PathBuf]) -> String {
    let mut hash = Fnv::default();
    for config in configs {
        let path = fs::canonicalize(config).unwrap_or_else(|_| config.clone());
        hash.add(path.as_os_str().as_encoded_bytes());
        hash.add(b"\n");
    }
    let stem = configs.first().and_then(|path| path.file_stem()).and_then(OsStr::to_str);
    let stem: String = stem
        .unwrap_or("agent")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let stem = if stem.is_empty() { "agent" } else { &stem[..stem.len().min(32)] };
    format!("{stem}-{:08x}", hash.0 >> 32)
}

/// FNV-1a, of 64 bits: the same in every build.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_names_of_their_own() {
        let name = |paths: &[&str]| name_of(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        let one = name(&["/etc/holdfast/agent.hcl"]);
        assert!(one.starts_with("agent-") && one.len() == "agent-".len() + 8, "{one}");
        assert_ne!(one, name(&["/etc/other/agent.hcl"]));
        assert_ne!(one, name(&["/etc/holdfast/agent.hcl", "/etc/holdfast/more.hcl"]));
        assert!(name(&["/x/.."]).starts_with("agent-"));
    }

    #[test]
    fn what_somebody_else_made_speaks_for_no_agent() {
        if !Uid::effective().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        for name in ["own", "his"] {
            fs::create_dir_all(base.join(name)).unwrap();
            fs::write(base.join(name).join(SOCKET), "").unwrap();
        }
        let own = base.join("own").join(SOCKET);
        std::os::unix::fs::chown(base.join("his"), Some(65534), None).unwrap();
        assert_eq!(sockets_below(&base), [own]);
        std::os::unix::fs::chown(&base, Some(65534), None).unwrap();
        assert_eq!(sockets_below(&base), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_chosen_directory_is_found_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (base, chosen) = (folder.path().join("base"), folder.path().join("state"));
        let config = folder.path().join("agent.hcl");
        let place = StatePlace::below(&base, &[config], Some(&chosen));
        place.make().unwrap();
        assert_eq!(sockets_below(&base), Vec::<PathBuf>::new());
        fs::write(place.socket(), "").unwrap();
        let [found] = &sockets_below(&base)[..] else { panic!("one socket") };
        assert_eq!(fs::read_link(found).unwrap(), place.socket());
        place.clear();
        assert_eq!(sockets_below(&base), Vec::<PathBuf>::new());
    }
}
