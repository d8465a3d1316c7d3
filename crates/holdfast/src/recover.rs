//! `holdfast recover`: ways out of what a server cannot get out of by itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use holdfast_vault::config::{self, StorageSettings};
use holdfast_vault::space::Reserves;
use serde_json::{Value, json};

use crate::platform::verbs::Place;

/// Get a server going again that cannot go on by itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Recover {
    Space(Space),
}

/// Free the room that a secrets server set aside for when its disk is full.
///
/// On a full disk the audit log cannot be written, so the server refuses every request. This removes
/// the reserves, a file beside the store and one on each other disk with an audit log, and the server
/// goes on at once, without a restart. Then make room: a reserve alone does not last. The server sets it
/// aside again at a later start, when ten times its size is free.
///
/// It works while the server runs and while it is stopped, as the server's user or as root, and asks
/// no server. Doing it again does no harm.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdfast recover space /etc/holdfast/server.hcl    a server of its own; in the folder where it is
                                                     started, if its paths are relative
  holdfast recover space examples/zero-trust         the server of a platform
  holdfast recover space --output json | jq .freed_bytes")]
pub(crate) struct Space {
    /// The server's configuration, a file or a folder of them, or a platform directory.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The state directory of the platform, where it is not the usual one.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Recover {
    pub(crate) fn run(self) -> ExitCode {
        let Self::Space(space) = self;
        match space.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("holdfast: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Space {
    fn run(self) -> anyhow::Result<()> {
        let store = std::path::absolute(self.store()?)?;
        let mut freed = Vec::new();
        let mut failures = Vec::new();
        // One that cannot be freed keeps nobody from the room of the others.
        for (path, result) in Reserves::of(&store, None).free() {
            match result {
                Ok(bytes) => freed.extend(bytes.map(|bytes| (path, bytes))),
                Err(error) => failures.push(format!("remove {}: {error}", path.display())),
            }
        }
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&answer(&freed))?),
            Output::Table => println!("{}", told(&store, &freed)),
        }
        if !failures.is_empty() {
            bail!("{}", failures.join("\n"));
        }
        Ok(())
    }

    /// The store of the server that is meant.
    fn store(&self) -> anyhow::Result<PathBuf> {
        let place = Place { platform: self.path.clone(), state: self.state.clone() };
        if self.state.is_some() || self.path.join("holdfast.toml").exists() {
            return place.store();
        }
        match config::load_storage(std::slice::from_ref(&self.path)) {
            Ok(StorageSettings::Sqlite { path, .. }) => Ok(path),
            Ok(StorageSettings::Inmem) => {
                bail!("this server keeps everything in memory, and takes no room on a disk")
            }
            Err(error) => bail!(
                "{} is neither a platform directory nor a server's configuration:\n{error}",
                self.path.display()
            ),
        }
    }
}

fn answer(freed: &[(PathBuf, u64)]) -> Value {
    let files = freed.iter().map(|(path, bytes)| json!({ "path": path, "freed_bytes": bytes }));
    let total: u64 = freed.iter().map(|(_, bytes)| bytes).sum();
    json!({ "freed_bytes": total, "files": files.collect::<Vec<_>>() })
}

/// What was done, and what is to be done now.
fn told(store: &Path, freed: &[(PathBuf, u64)]) -> String {
    let advice =
        "old audit logs to another disk (then send the server SIGHUP), or enlarge this one.";
    if freed.is_empty() {
        let store = store.display();
        return format!("nothing to free: the server of {store} holds no reserve\nMove {advice}");
    }
    let removed: Vec<_> = freed
        .iter()
        .map(|(path, bytes)| format!("freed {bytes} bytes: removed {}\n", path.display()))
        .collect();
    format!(
        "{}A running server goes on by itself. Make room now, for these bytes do not last: move\n\
         {advice} The\nserver sets room aside again at a start that finds ten times as much free.",
        removed.concat()
    )
}
