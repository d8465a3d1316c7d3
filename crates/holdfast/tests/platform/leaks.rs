//! Where a secret's value can be read: files, arguments and environments, and the memory of processes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{World, pids, wait_for};

/// Where programs that were given no directory of their own leave files; and whether to look deeper.
const SHARED: &[(&str, bool)] = &[
    ("/tmp", false),
    ("/var/tmp", false),
    ("/dev/shm", true),
    ("/run/holdfast", true),
    ("/run/holdfast-delivered", true),
];
/// No run of a test writes larger files.
const LARGEST: u64 = 256 << 20;

/// A value that stands nowhere by chance.
pub(crate) fn canary() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    format!("canary-{}", hex::encode(bytes))
}

/// Makes the directory for temporary files of a world's own.
pub(crate) fn make_temporary(world: &World) -> PathBuf {
    let path = world.path("tmp");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
    path
}

/// Where any of `needles` stands, as paths: in every file of the world but its programs, in what was
/// left beside it, in files that its processes hold open, and in the arguments and the environment of
/// all processes of the machine.
pub(crate) fn find(world: &World, needles: &[impl AsRef<[u8]>]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut look = |path: PathBuf| paths.push(path);
    let own = world.path("");
    walk(&own, true, &mut |path| {
        if !path.starts_with(own.join("bin")) {
            look(path);
        }
    });
    for (place, deep) in SHARED {
        walk(Path::new(place), *deep, &mut look);
    }
    for pid in world.processes() {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let path = entry.path();
            // What has a name in the world was looked at, and a pipe is not to be read.
            let elsewhere = fs::read_link(&path).is_ok_and(|target| {
                target.to_string_lossy().ends_with(" (deleted)") || !target.starts_with(&own)
            });
            if elsewhere && is_readable(&path) {
                look(path);
            }
        }
    }
    for pid in pids() {
        look(PathBuf::from(format!("/proc/{pid}/environ")));
        look(PathBuf::from(format!("/proc/{pid}/cmdline")));
    }
    let names: Vec<_> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
    let mut search = Command::new("xargs");
    search.args(["-0", "grep", "-sl"]);
    let found = grep(world, needles, search, &[&names.join(&0)]);
    found.lines().map(PathBuf::from).collect()
}

/// Lets the system's `grep` look, which is faster than a test's own code. The needles are no arguments.
fn grep(
    world: &World,
    needles: &[impl AsRef<[u8]>],
    mut search: Command,
    input: &[&[u8]],
) -> String {
    let patterns = world.path("bin/needles");
    let needles: Vec<_> = needles.iter().map(AsRef::as_ref).collect();
    fs::write(&patterns, needles.join(&b'\n')).unwrap();
    search.args(["--text", "--fixed-strings", "--file"]).arg(&patterns).env("LC_ALL", "C");
    let mut child = search.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for bytes in input {
        stdin.write_all(bytes).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    fs::remove_file(patterns).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Shows that [`find`] finds what is planted in each kind of place.
pub(crate) fn assert_planted_is_found(world: &World) {
    let planted = canary();
    assert_eq!(find(world, &[&planted]), Vec::<PathBuf>::new());
    let text = format!("before {planted} after");
    let files = [
        world.state().join("logs/planted.log"),
        world.platform().join("planted"),
        world.path("tmp/planted"),
        PathBuf::from(format!("/dev/shm/{}", &planted[..20])),
    ];
    for file in &files {
        fs::write(file, &text).unwrap();
    }
    let unlinked = world.path("tmp/unlinked");
    fs::write(&unlinked, &text).unwrap();
    let state = world.state();
    let mut exported = world.command("sleep");
    exported.arg("600").env("PLANTED", &planted).env("HOLDFAST_STATE", &state);
    let mut exported = exported.stdin(File::open(&unlinked).unwrap()).spawn().unwrap();
    fs::remove_file(&unlinked).unwrap();
    let mut shown = world.command("sh");
    shown.args(["-c", "read -r end", &planted]).stdin(Stdio::piped());
    let mut shown = shown.spawn().unwrap();

    let mut expected = files.to_vec();
    expected.push(format!("/proc/{}/fd/0", exported.id()).into());
    expected.push(format!("/proc/{}/environ", exported.id()).into());
    expected.push(format!("/proc/{}/cmdline", shown.id()).into());
    expected.sort();
    // A process shows its own words once it is executed.
    wait_for(|| {
        let mut found = find(world, &[&planted]);
        found.sort();
        found == expected
    });
    for child in [&mut exported, &mut shown] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(find(world, &[&planted]), Vec::<PathBuf>::new());
}

/// Whether the writable memory of a process holds `needle`. None where the machine lets nobody look.
pub(crate) fn memory_holds(world: &World, pid: i32, needle: &str) -> Option<bool> {
    let memory = File::open(format!("/proc/{pid}/mem"));
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"));
    let (memory, maps) = match (memory, maps) {
        (Ok(memory), Ok(maps)) => (memory, maps),
        (memory, maps) => {
            println!("skipped: the memory of {pid}: {:?} {:?}", memory.err(), maps.err());
            return None;
        }
    };
    let mut regions = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            regions.push(bytes);
        }
    }
    assert!(!regions.is_empty(), "nothing of the memory of {pid} could be read");
    let regions: Vec<_> = regions.iter().map(Vec::as_slice).collect();
    let mut search = Command::new("grep");
    search.arg("--count");
    Some(grep(world, &[needle], search, &regions).trim() != "0")
}

fn is_readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST)
}

/// Every file below `directory`. Links are not followed.
fn walk(directory: &Path, deep: bool, look: &mut impl FnMut(PathBuf)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // Others' files come and go.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() && deep {
            walk(&path, deep, look);
        } else if metadata.is_file() && metadata.len() <= LARGEST {
            look(path);
        }
    }
}
