//! Secrets in the environment of a service, for a program that reads nothing else.
//!
//! Its agent renders each variable into a file, and the process takes them in on its way to becoming
//! the service, as the service's user: the supervisor never has them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::reload;

/// The longest variable that the kernel passes on, with its name.
const LONGEST: u64 = 128 << 10;
/// How often is begun anew when values change while they are read.
const TRIES: usize = 100;

/// The file of a variable, in the directory of a service's files.
pub(super) fn file(directory: &Path, variable: &str) -> PathBuf {
    directory.join(format!(".environment.{variable}"))
}

/// The values of `variables`, all of one moment. The end of a value's last line is not part of it.
///
/// # Errors
/// One is not there, or cannot stand in an environment.
pub(crate) fn read(
    directory: &Path,
    variables: &[String],
) -> anyhow::Result<Vec<Zeroizing<Vec<u8>>>> {
    for _ in 0..TRIES {
        let before = reload::current(directory);
        let values = variables.iter().map(|variable| {
            read_one(&file(directory, variable)).with_context(|| format!("the secret {variable}"))
        });
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        if reload::current(directory) == before {
            return Ok(values);
        }
    }
    bail!("secrets change faster than they can be read");
}

fn read_one(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let open = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = open.with_context(|| format!("open {shown}"))?;
    ensure!(file.metadata()?.is_file(), "{shown} is no file");
    let mut value = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LONGEST + 1).read_to_end(&mut value).with_context(|| format!("read {shown}"))?;
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    ensure!((value.len() as u64) < LONGEST, "it is too long for an environment");
    ensure!(!value.contains(&0), "it holds a NUL, which no environment can");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (name, content) in [
            ("PLAIN", b"a b".to_vec()),
            ("LINE", b"a\nb\n\n".to_vec()),
            ("BYTES", vec![0xff, 0xfe]),
            ("EMPTY", Vec::new()),
            ("NUL", b"a\0b".to_vec()),
            ("LONG", vec![b'x'; 1 << 20]),
        ] {
            std::fs::write(file(directory, name), content).unwrap();
        }
        let values = read(directory, &names(&["PLAIN", "LINE", "BYTES", "EMPTY"])).unwrap();
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_slice()).collect();
        assert_eq!(values, [&b"a b"[..], b"a\nb\n", &[0xff, 0xfe], b""]);
        for (name, why) in [
            ("NUL", "the secret NUL: it holds a NUL"),
            ("LONG", "the secret LONG: it is too long"),
            ("MISSING", "the secret MISSING: open "),
        ] {
            let error = format!("{:#}", read(directory, &names(&["PLAIN", name])).unwrap_err());
            assert!(error.starts_with(why) && !error.contains("xxx"), "{error}");
        }
        nix::unistd::mkfifo(&file(directory, "PIPE"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read(directory, &names(&["PIPE"])).unwrap_err();
        assert!(format!("{error:#}").contains("is no file"), "{error:#}");
    }
}
