//! Where agents keep what others look for.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::socket::{Listener, remove_dead};
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
    fn make(&self) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        if self.well_known == self.directory {
            return Ok(());
        }
        files::private_directory(&self.well_known)?;
        let link = self.well_known.join(SOCKET);
        let _ = fs::remove_file(&link);
        symlink(std::path::absolute(self.socket())?, link)
    }

    /// Makes the directory and listens there; what killed agents left is removed.
    ///
    /// # Errors
    /// The directory cannot be made, or is somebody else's; or the socket cannot be bound.
    pub fn listen(&self) -> io::Result<Listener> {
        sweep(&base());
        self.make()?;
        let listener = match Listener::bind(&self.socket()) {
            // Somebody just took the directory for a dead agent's.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make()?;
                Listener::bind(&self.socket())?
            }
            bound => bound?,
        };
        // Now nobody takes the way to it for a dead agent's any more.
        self.make()?;
        Ok(listener)
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

/// Where the agent itself listens whom others find by `socket`.
pub(super) fn followed(base: &Path, socket: &Path) -> io::Result<PathBuf> {
    match is_looked_for(base, socket) && fs::symlink_metadata(socket)?.is_symlink() {
        true => fs::read_link(socket),
        false => Ok(socket.to_owned()),
    }
}

/// Whether it is where agents are looked for, which nobody else writes to.
fn is_looked_for(base: &Path, socket: &Path) -> bool {
    socket.parent().and_then(Path::parent) == Some(base)
}

/// Removes what tells of agents that were killed.
fn sweep(base: &Path) {
    for socket in entries_below(base) {
        let Ok(target) = fs::read_link(&socket) else {
            let _ = remove_dead(base, &socket);
            continue;
        };
        // One that starts has its directory, and yet no socket.
        match target.parent().is_some_and(Path::exists) {
            true => _ = remove_dead(base, &socket),
            false => {
                let _ = fs::remove_file(&socket);
                forget(base, &socket);
            }
        }
    }
}

/// Removes the directory of a socket that is no more, where agents are looked for and nothing else
/// is kept there.
pub(super) fn forget(base: &Path, socket: &Path) {
    if let Some(directory) = socket.parent().filter(|_| is_looked_for(base, socket)) {
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
    let base = base();
    sweep(&base);
    // Else others take the agent that is about to start for the dead one.
    let _ = remove_dead(&base, socket);
    let place = base.join(name);
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
    let mut sockets = entries_below(base);
    sockets.retain(|socket| socket.exists());
    sockets
}

/// The places of sockets below `base`, in order.
fn entries_below(base: &Path) -> Vec<PathBuf> {
    // What somebody else made there, before the caller did, speaks for no agent of the caller's.
    let ours = |folder: io::Result<Folder>| {
        let ours = folder.and_then(|folder| folder.check_ours().map(|()| folder));
        ours.ok().filter(Folder::is_known)
    };
    let Some(folder) = ours(Folder::open(base)) else { return Vec::new() };
    let names = folder.names().unwrap_or_default();
    let agents = names.iter().filter(|name| ours(folder.folder(name)).is_some());
    let mut sockets: Vec<_> = agents.map(|name| base.join(name).join(SOCKET)).collect();
    sockets.sort();
    sockets
}

/// Where agents of this user are looked for.
pub(super) fn base() -> PathBuf {
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
    fn what_killed_agents_left_goes_and_those_that_live_or_start_stay() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        let state = |name: &str| folder.path().join(name);
        let link = |name: &str| base.join(name).join(SOCKET);
        let dead = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        for name in ["own", "killed", "gone", "starts", "lives"] {
            fs::create_dir_all(base.join(name)).unwrap();
            if name != "own" {
                fs::create_dir(state(name)).unwrap();
                symlink(state(name).join(SOCKET), link(name)).unwrap();
            }
        }
        dead(&link("own"));
        dead(&state("killed").join(SOCKET));
        fs::remove_dir(state("gone")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let _lives = Listener::bind(&state("lives").join(SOCKET)).unwrap();
        sweep(&base);
        let left = |name: &str| fs::symlink_metadata(link(name)).is_ok();
        let left: Vec<_> = ["own", "killed", "gone", "starts", "lives"]
            .into_iter()
            .filter(|name| left(name))
            .collect();
        assert_eq!(left, ["starts", "lives"]);
        assert!(!base.join("gone").exists() && !state("killed").join(SOCKET).exists());
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
