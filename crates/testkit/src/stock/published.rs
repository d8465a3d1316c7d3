//! The tests that published crates carry in their packages, built and run as they are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{cache_directory, output_of};

/// A published crate that the workspace depends on, so that cargo has its package, unpacked, here.
#[derive(Debug, Clone)]
pub struct PublishedCrate {
    name: &'static str,
    manifest: PathBuf,
    target: PathBuf,
}

/// What a crate's tests came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedOutcome {
    /// How many passed.
    pub passed: usize,
    /// How many were not run.
    pub ignored: usize,
    /// The names of those that failed.
    pub failed: Vec<String>,
    /// All that cargo and the tests wrote.
    pub output: String,
}

impl PublishedCrate {
    /// Finds the package, in the version that the workspace is locked to.
    ///
    /// # Panics
    /// The workspace does not depend on it.
    pub fn find(name: &'static str) -> Self {
        Self::try_find(name)
            .unwrap_or_else(|error| panic!("a test needs the package of {name}: {error:#}"))
    }

    fn try_find(name: &'static str) -> Result<Self> {
        let mut tree = cargo();
        tree.args(["tree", "--locked", "--offline", "--quiet", "--prefix=none", "--depth=0"]);
        tree.args(["--package", name, "--format", "{p}"]);
        let told = output_of(tree.current_dir(env!("CARGO_MANIFEST_DIR")))?;
        let version = told.split(" v").nth(1).and_then(|rest| rest.split_whitespace().next());
        let version = version.with_context(|| format!("a version in {told:?}"))?;
        let home = match std::env::var_os("CARGO_HOME") {
            Some(home) => PathBuf::from(home),
            None => PathBuf::from(std::env::var_os("HOME").context("HOME")?).join(".cargo"),
        };
        let mut manifest = None;
        for registry in std::fs::read_dir(home.join("registry/src"))? {
            let path = registry?.path().join(format!("{name}-{version}/Cargo.toml"));
            manifest = manifest.or_else(|| path.exists().then_some(path));
        }
        let manifest = manifest.with_context(|| format!("{name} {version} is not unpacked"))?;
        let target = cache_directory()?.join("holdfast/stock/published");
        Ok(Self { name, manifest, target })
    }

    /// Builds its tests, with the dependencies that its own lock file names, and runs all of them,
    /// those too that ask for a running service.
    ///
    /// # Panics
    /// They cannot be built.
    pub fn test(&self, features: &[&str], environment: &[(&str, &str)]) -> PublishedOutcome {
        let name = self.name;
        self.try_test(features, environment)
            .unwrap_or_else(|error| panic!("run the tests of {name}: {error:#}"))
    }

    fn try_test(
        &self,
        features: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<PublishedOutcome> {
        let mut cargo = cargo();
        std::fs::create_dir_all(&self.target)?;
        // Not ours: neither the workspace's settings, nor where its own code is built.
        cargo.current_dir(&self.target).env_remove("CARGO_TARGET_DIR");
        cargo.args(["test", "--locked", "--tests", "--no-fail-fast", "--manifest-path"]);
        cargo.arg(&self.manifest).arg("--target-dir").arg(&self.target);
        cargo.args(["--features", &features.join(",")]);
        // The system's OpenSSL will do; one of its own would take as long as all the rest.
        cargo.env("OPENSSL_NO_VENDOR", "1").env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo.args(["--", "--include-ignored"]).envs(environment.iter().copied());
        let output = cargo.output().context("run cargo")?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let output = format!("{}\n{told}", String::from_utf8_lossy(&output.stderr));
        let mut outcome = PublishedOutcome { passed: 0, ignored: 0, failed: Vec::new(), output };
        let mut suites = 0;
        for line in told.lines() {
            if let Some(counts) = line.strip_prefix("test result: ") {
                suites += 1;
                outcome.passed += counted(counts, "passed");
                outcome.ignored += counted(counts, "ignored");
            } else if let Some(test) = line.strip_suffix(" ... FAILED") {
                outcome.failed.push(test.trim_start_matches("test ").to_owned());
            }
        }
        ensure!(suites > 0, "they were not built: {}", outcome.output);
        Ok(outcome)
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The number before `what` in a line such as `ok. 3 passed; 0 failed`.
fn counted(line: &str, what: &str) -> usize {
    let words: Vec<&str> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == what);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_came_to_is_read() {
        let line = "FAILED. 13 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!((counted(line, "passed"), counted(line, "ignored")), (13, 2));
        assert_eq!(counted("ok.", "passed"), 0);
    }

    #[test]
    fn a_package_of_the_workspace_is_found() {
        assert!(PublishedCrate::find("spiffe").manifest.exists());
    }
}
