//! Which PostgreSQL is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Older ones lack what the platform relies on, and most are without support.
const OLDEST: u32 = 15;

/// The server's programs, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) directory: PathBuf,
    /// Such as `15.18`.
    pub(crate) version: String,
}

impl Programs {
    /// The newest PostgreSQL on this machine.
    ///
    /// # Errors
    /// There is none, or all are too old.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let mut directories: Vec<PathBuf> = Vec::new();
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            directories.push(String::from_utf8_lossy(&output.stdout).trim().into());
        }
        for pattern in ["/usr/lib/postgresql", "/usr/pgsql"] {
            let Ok(versions) = std::fs::read_dir(pattern) else { continue };
            directories.extend(versions.flatten().map(|version| version.path().join("bin")));
        }
        newest_in(&directories)
    }
}

fn newest_in(directories: &[PathBuf]) -> anyhow::Result<Programs> {
    let mut found: Vec<_> =
        directories.iter().filter_map(|directory| version_in(directory)).collect();
    found.sort_by_key(|programs| numbers(&programs.version));
    let newest = found.pop().context(
        "PostgreSQL is not installed; install it without its default cluster: `make install-postgres`, or the package postgresql",
    )?;
    if numbers(&newest.version).first().is_none_or(|major| *major < OLDEST) {
        bail!(
            "PostgreSQL {} in {} is too old; install version {OLDEST} or later",
            newest.version,
            newest.directory.display()
        );
    }
    Ok(newest)
}

/// The version of the server in `directory`, if there is one that can be run.
fn version_in(directory: &Path) -> Option<Programs> {
    let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
    if !directory.join("initdb").exists() {
        return None;
    }
    // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2)?.to_owned();
    Some(Programs { directory: directory.to_owned(), version })
}

fn numbers(version: &str) -> Vec<u32> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').map_while(|part| digits(part).parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory with a fake of PostgreSQL, which can do no more than tell its version.
    fn fake(parent: &Path, version: &str) -> PathBuf {
        let directory = parent.join(version);
        fs::create_dir(&directory).unwrap();
        // By a shell: a file that this process has open for writing, if only in a child that
        // another test is just forking, cannot be executed.
        let script = "echo \"echo 'postgres (PostgreSQL) $0 (Debian $0-0)'\" | tee postgres initdb
            sed -i '1i #!/bin/sh' postgres initdb && chmod 755 postgres initdb";
        let made =
            Command::new("sh").args(["-c", script, version]).current_dir(&directory).output();
        assert!(made.unwrap().status.success());
        directory
    }

    #[test]
    fn the_newest_is_chosen_and_an_old_one_refused() {
        for (versions, want) in [
            (vec!["15.18", "9.6", "17.2"], Ok("17.2")),
            (vec!["16beta1", "15.2"], Ok("16beta1")),
            (vec!["13.20", "14.1"], Err("PostgreSQL 14.1 in DIR/14.1 is too old; install")),
            (vec![], Err("PostgreSQL is not installed")),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let fakes: Vec<_> =
                versions.iter().map(|version| fake(parent.path(), version)).collect();
            let got = newest_in(&fakes);
            match want {
                Ok(version) => assert_eq!(got.unwrap().version, version),
                Err(start) => {
                    let said = got.unwrap_err().to_string();
                    let said = said.replace(&parent.path().display().to_string(), "DIR");
                    assert!(said.starts_with(start), "{said}");
                }
            }
        }
    }
}
