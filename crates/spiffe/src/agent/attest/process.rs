//! What the kernel shows of a process in `/proc`.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::executable::Program;
use super::{AttestError, proc_path};

/// No file of `/proc` that is read here is longer, but for the groups of a user who has thousands.
const LIMIT: u64 = 1024 * 1024;

/// The facts that selectors are made of.
#[derive(Debug)]
pub(super) struct Facts {
    /// The user and group that it acts as.
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) executable: PathBuf,
    pub(super) program: Program,
    /// Whether the path of the executable means the same file to us as to the process.
    pub(super) is_path_ours: bool,
    /// Its place in the hierarchy that systemd uses, such as `/system.slice/web.service`.
    pub(super) cgroup: String,
    /// Its place in all hierarchies, as the kernel lists them.
    pub(super) cgroups: String,
}

impl Facts {
    pub(super) fn read(pid: i32) -> Result<Self, AttestError> {
        let unreadable = |what| move |error| AttestError::Unreadable(what, error);
        let status = read(pid, "status").map_err(unreadable("the status"))?;
        let status = Status::parse(&status).ok_or_else(|| {
            AttestError::Unreadable("the status", io::ErrorKind::InvalidData.into())
        })?;
        let cgroups = cgroups(pid).map_err(unreadable("the cgroup"))?;
        let executable = unreadable("the executable");
        let program = Program::of(pid).map_err(executable)?;
        let link = fs::read_link(proc_path(pid, "exe")).map_err(unreadable("the executable"))?;
        let (path, is_path_ours) = executable_path(pid, link, program);
        let Status { uid, gid, groups } = status;
        let cgroup = cgroup_path(&cgroups).to_owned();
        Ok(Self { uid, gid, groups, executable: path, program, is_path_ours, cgroup, cgroups })
    }
}

/// What `/proc/<pid>/status` says of users and groups.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        // Real, effective, saved, and that of the file system: the second one is what it acts as.
        let effective = |name| field(text, name)?.split_whitespace().nth(1)?.parse().ok();
        let groups = field(text, "Groups")?;
        let groups = groups.split_whitespace().map(|group| group.parse().ok());
        Some(Self {
            uid: effective("Uid")?,
            gid: effective("Gid")?,
            groups: groups.collect::<Option<_>>()?,
        })
    }
}

/// The value of a line `name: value`. The name of the program, the one line that a process can
/// choose, has its line ends escaped.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Where the program lies, and whether that path can be believed.
///
/// The kernel writes the path by the mount that the program was executed from. Whoever changes what
/// he sees, which takes no rights (user namespaces), may have it show any path. So the path counts
/// only where it leads us to that very file; or where the file was replaced meanwhile, and the
/// process sees what we see and executes from a mount of ours: a process that sees what we see can
/// still execute from a mount of another namespace, through `/proc/<pid>/root`.
fn executable_path(pid: i32, link: PathBuf, program: Program) -> (PathBuf, bool) {
    if Program::at(&link).is_ok_and(|at| at == program) {
        return (link, true);
    }
    let same = |name: &str| {
        let path = |of: &str| PathBuf::from("/proc").join(of).join(name);
        match name {
            "root" => Program::at(&path(&pid.to_string())).ok() == Program::at(&path("self")).ok(),
            _ => fs::read_link(path(&pid.to_string())).ok() == fs::read_link(path("self")).ok(),
        }
    };
    // A file that was removed or replaced.
    let deleted = link.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    match deleted {
        Some(path) => {
            (path.into(), same("ns/mnt") && same("root") && is_mount_ours(pid).unwrap_or(false))
        }
        None => (link, false),
    }
}

/// Whether the program was executed from a mount that we see.
fn is_mount_ours(pid: i32) -> io::Result<bool> {
    let mut options = fs::File::options();
    let path = proc_path(pid, "exe");
    // A handle alone: nothing of it is read.
    let file = options.read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let mount = field(&text, "mnt_id").map(str::trim).ok_or(io::ErrorKind::InvalidData)?;
    let ours = fs::read_to_string("/proc/self/mountinfo")?;
    // The number of a mount is its own among those of all namespaces.
    Ok(ours.lines().any(|line| line.split(' ').next() == Some(mount)))
}

/// The cgroup that systemd put it in: the line of systemd's own hierarchy, else the unified one.
fn cgroup_path(text: &str) -> &str {
    let of = |wanted: &dyn Fn(&str, &str) -> bool| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(number, controllers).then_some(path)
        })
    };
    of(&|_, controllers| controllers == "name=systemd")
        .filter(|path| *path != "/")
        .or_else(|| of(&|number, controllers| number == "0" && controllers.is_empty()))
        .unwrap_or("/")
}

/// Its place in all hierarchies of cgroups: lines of `number:controllers:path`.
pub(super) fn cgroups(pid: i32) -> io::Result<String> {
    read(pid, "cgroup")
}

/// When it started, in ticks since the machine did.
pub(super) fn start_time(pid: i32) -> io::Result<u64> {
    stat_field(pid, 22)
}

/// The number of its parent.
pub(super) fn parent(pid: i32) -> io::Result<i32> {
    stat_field(pid, 4)
}

/// The user and group that it acts as.
pub(super) fn owner(pid: i32) -> io::Result<(u32, u32)> {
    let status = Status::parse(&read(pid, "status")?).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status.uid, status.gid))
}

/// The number of the process that a pidfd holds.
pub(super) fn pid_of(pidfd: &impl AsFd) -> io::Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = fs::read_to_string(path)?;
    let pid = field(&text, "Pid").and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A field of `/proc/<pid>/stat`, counted from 1.
fn stat_field<T: std::str::FromStr>(pid: i32, number: usize) -> io::Result<T> {
    let text = read(pid, "stat")?;
    // The second field is the program's name, in parentheses and with anything in it.
    let after = text.rsplit_once(") ").map(|(_, after)| after);
    let field = after.and_then(|after| after.split(' ').nth(number - 3));
    field.and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read(pid: i32, name: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(proc_path(pid, name))?.take(LIMIT).read_to_end(&mut bytes)?;
    // A program's name, and a cgroup's, are bytes.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_whatever_the_program_is_called() {
        let text = "Name:\tUid: 0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        assert_eq!(Status::parse(text), Some(Status { uid: 2, gid: 6, groups: vec![9, 10] }));
        assert_eq!(Status::parse("Name:\tx\nUid:\t1\n"), None);
    }

    #[test]
    fn the_cgroup_is_systemds() {
        for (text, want) in [
            ("0::/system.slice/web.service\n", "/system.slice/web.service"),
            (
                "3:cpu:/a\n1:name=systemd:/system.slice/b.service\n0::/c\n",
                "/system.slice/b.service",
            ),
            ("1:name=systemd:/\n0::/c:d\n", "/c:d"),
            ("", "/"),
        ] {
            assert_eq!(cgroup_path(text), want);
        }
    }

    #[test]
    fn the_start_time_and_parent_are_our_own() {
        let own = std::process::id() as i32;
        assert_eq!(parent(own).unwrap(), std::os::unix::process::parent_id() as i32);
        assert!(start_time(own).unwrap() > 0);
    }
}
