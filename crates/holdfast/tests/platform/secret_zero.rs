//! There is no secret before the first one: of all that a platform goes by, the seal key alone is kept
//! where it can be read.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde_json::Value;

use crate::delivery::pid;
use crate::leaks::find;
use crate::world::World;

/// What every private key of the curve P-256 has before its 32 bytes, from the name of the curve on
/// (PKCS #8, RFC 5208, with a key of RFC 5915 in it).
const BEFORE_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
/// Private keys in PEM, in DER and in base64 of that, and signed tokens (`{"alg":`).
const KINDS: [&[u8]; 4] =
    [b"PRIVATE KEY-----", BEFORE_KEY, b"MIGHAgEAMBMGByqGSM49AgEG", b"eyJhbGciOi"];

/// Holds of a platform that is up, whose service `python` has an X.509-SVID in files of its own in
/// memory.
pub(crate) fn assert_only_the_seal_key(world: &World) {
    let seal: Value = serde_json::from_slice(&fs::read(world.seal_key()).unwrap()).unwrap();
    let seal = STANDARD.decode(seal["key"].as_str().unwrap()).unwrap();
    assert_eq!(find(world, &forms(&seal)), [world.seal_key()]);

    let service = format!("/proc/{}", pid(world, "python").unwrap());
    let key = private_key(Path::new(&service));
    let found = find(world, &forms(&key));
    assert!(!found.is_empty() && found.iter().all(|path| path.starts_with(&service)), "{found:?}");

    assert_eq!(readable(world), Vec::<PathBuf>::new());
    let planted = world.state().join("logs/planted.log");
    for kind in KINDS {
        fs::write(&planted, kind).unwrap();
        assert_eq!(readable(world), std::slice::from_ref(&planted), "{kind:?}");
    }
    for form in forms(&key) {
        fs::write(&planted, &form).unwrap();
        assert!(find(world, &forms(&key)).contains(&planted), "{form:?}");
    }
    fs::remove_file(planted).unwrap();
}

/// Where keys and tokens of any kind stand, of anybody: in files of the platform, and in its processes'
/// arguments, environments and open files. What is on the platform's tmpfs is left out, as long as its
/// owner alone reads it.
fn readable(world: &World) -> Vec<PathBuf> {
    let memory = memory(world);
    let own = world.path("");
    // Stock clients, with keys of their tests, and a test.
    let programs = [world.platform().join("venv"), world.platform().join("rust")];
    let processes: Vec<_> =
        world.processes().iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
    let mut found = find(world, &KINDS);
    found.retain(|path| {
        let is_own = path.starts_with(&own) && !programs.iter().any(|one| path.starts_with(one));
        let is_in_memory = path.starts_with(&memory) || is_memory(path);
        let is_of_processes = processes.iter().any(|process| path.starts_with(process));
        (is_own || is_of_processes || is_in_memory) && !(is_in_memory && is_closed_to_others(path))
    });
    found
}

/// The platform's tmpfs.
fn memory(world: &World) -> PathBuf {
    let parts = world.status()["parts"].as_array().unwrap().clone();
    let agent = parts.iter().find(|part| part["name"] == "spiffe-agent").unwrap();
    let socket = PathBuf::from(agent["address"].as_str().unwrap());
    let memory = socket.ancestors().nth(2).unwrap();
    assert_eq!(statfs(memory).unwrap().filesystem_type(), TMPFS_MAGIC, "{}", memory.display());
    memory.to_owned()
}

/// Whether an open file of a process has never had a name.
fn is_memory(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"))
}

fn is_closed_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // One without a name can be reached by its process's user alone.
    is_memory(path) || fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}

/// The key that a process keeps in a file in memory: its 32 bytes.
fn private_key(process: &Path) -> Vec<u8> {
    let files = fs::read_dir(process.join("fd")).unwrap().map(|file| file.unwrap().path());
    let texts = files.filter(|path| is_memory(path)).map(|path| fs::read_to_string(path).unwrap());
    let pem = texts.into_iter().find(|text| text.contains("PRIVATE KEY")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    let at = der.windows(BEFORE_KEY.len()).position(|part| part == BEFORE_KEY).unwrap();
    der[at + BEFORE_KEY.len()..][..32].to_vec()
}

/// A key as it may be written: as it is, in hexadecimal, and in base64 at each of the three places where
/// it may begin.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    // A line of `grep`'s patterns ends where a line of the key does.
    let lines = key.split(|byte| *byte == b'\n').filter(|line| line.len() >= 10);
    let mut forms: Vec<_> = lines.map(<[u8]>::to_vec).collect();
    forms.push(hex::encode(key).into_bytes());
    for before in 0..3 {
        let text = STANDARD.encode([&[0; 2][..before], key].concat());
        // The letters that its neighbours have no part in; a line may end in one of the halves.
        forms.extend(text.as_bytes()[4..40].chunks(18).map(<[u8]>::to_vec));
    }
    forms
}
