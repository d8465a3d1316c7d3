//! `holdfast down`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::super::control::{self, Request};
use super::super::state::{Lock, Record, State};
use super::super::{delivery, files, leftovers, tmpfs};
use super::{Place, block_on};

/// How long all parts together may take to stop.
const LIMIT: Duration = Duration::from_secs(90);

/// `holdfast down`.
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    #[command(flatten)]
    place: Place,
    /// Remove everything: secrets, databases, logs, and the seal key. There is no way back.
    #[arg(long)]
    purge: bool,
}

impl Down {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = self.place.state_path()?;
        let Some(state) = State::open(&path)? else {
            println!("nothing to stop: there is no state in {}", path.display());
            return Ok(());
        };
        let stopped: Option<Value> = match block_on(control::ask(&state, &Request::Down)) {
            // It ends in the middle of its answer when it is in a hurry; the lock tells.
            Err(error) if error.to_string().contains("went away") => None,
            other => other?,
        };
        // While it is held a supervisor is alive, and afterwards none can start.
        let lock = wait_for_lock(&state)?;
        if let Some(record) = state.record().ok().flatten() {
            leftovers::end_services(&state, &record.name)?;
        }
        block_on(leftovers::reap(&state))?;
        if self.purge {
            purge(&state, lock)?;
            println!("stopped, and all of it removed");
        } else {
            // What a killed supervisor could not.
            let record = state.record()?;
            clean(&state, record.as_ref())?;
            println!("{}", if stopped.is_some() { "stopped" } else { "it was down already" });
        }
        Ok(())
    }
}

fn wait_for_lock(state: &State) -> anyhow::Result<Lock> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(lock) = state.lock()? {
            return Ok(lock);
        }
        if Instant::now() >= deadline {
            bail!("the supervisor does not end; see `holdfast logs supervisor`");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn clean(state: &State, record: Option<&Record>) -> anyhow::Result<()> {
    if let Some(record) = record {
        delivery::withdraw(state, &record.name);
    }
    files::remove(&state.join("control.sock"))?;
    if let Some(secrets) = record.and_then(|record| record.secrets.as_ref()) {
        tmpfs::remove(secrets)?;
    }
    Ok(())
}

/// Removes everything of the platform. The record goes last, so that a purge that was cut short
/// can be repeated.
fn purge(state: &State, lock: Lock) -> anyhow::Result<()> {
    // Without a readable record what it names stays; the rest goes.
    let record = state.record().ok().flatten();
    clean(state, record.as_ref())?;
    tmpfs::remove(&tmpfs::mount_point(state))?;
    for entry in std::fs::read_dir(state.directory())? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "state.json" || name == "lock" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            files::remove_directory(&entry.path())?;
        } else {
            files::remove(&entry.path())?;
        }
    }
    if let Some(record) = &record {
        files::remove(&record.seal)?;
        if let Some(directory) = record.seal.parent().filter(|path| path.ends_with("holdfast")) {
            // Shared by platforms; it goes with the last.
            let _ = std::fs::remove_dir(directory);
        }
    }
    files::remove_directory(state.directory())
        .with_context(|| format!("remove {}", state.directory().display()))?;
    ensure!(!state.directory().exists(), "{} is still there", state.directory().display());
    drop(lock);
    if let Some(parent) = state.directory().parent().filter(|path| path.ends_with("holdfast")) {
        let _ = std::fs::remove_dir(parent);
    }
    Ok(())
}
