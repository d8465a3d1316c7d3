//! How a service learns that its files changed.
//!
//! The supervisor sees each generation that the agent publishes and tells the service. Of one that it
//! started anew it writes down for the agent which generation it has, and only then does the agent
//! end what the files before held.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use super::super::config::Reload;
use super::super::files;
use super::super::part::PartHandle;
use super::Place;

/// How often the link is looked at: one system call, in memory.
const LOOK: Duration = Duration::from_millis(100);
/// How long a service may take until it runs again.
const READY_LIMIT: Duration = Duration::from_secs(45);

/// Tells `service` of each change until it is dropped; it was started with the files of `generation`.
pub(crate) async fn follow(
    place: Place,
    service: PartHandle,
    reload: Reload,
    generation: Option<u64>,
) {
    if reload == Reload::ByItself {
        return;
    }
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut has, mut taken_up) = (generation, None);
    loop {
        tick.tick().await;
        let Some(generation) = place.generation().filter(|found| Some(*found) != taken_up) else {
            continue;
        };
        let told = match has == Some(generation) {
            true => Ok(()),
            false => tell(&service, reload).await,
        };
        let done = told.and_then(|()| {
            if reload != Reload::Restart {
                // Nobody says when a signal was heeded: what the files held before ends by itself.
                return Ok(());
            }
            let path = place.taken_up();
            files::write(&path, format!("{generation}\n").as_bytes(), 0o444, None)
                .with_context(|| format!("write {}", path.display()))
        });
        match done {
            Ok(()) => (has, taken_up) = (Some(generation), Some(generation)),
            // Said to be stale by the agent meanwhile; tried again with the next look.
            Err(error) => tracing::warn!(service = service.name, "take up new secrets: {error:#}"),
        }
    }
}

async fn tell(service: &PartHandle, reload: Reload) -> anyhow::Result<()> {
    tracing::info!(service = service.name, "its secrets changed");
    match reload {
        Reload::ByItself => Ok(()),
        Reload::Signal(signal) => {
            service.signal(signal).await;
            Ok(())
        }
        Reload::Restart => {
            service.restart().await?;
            service.wait_ready(READY_LIMIT).await
        }
    }
}

/// The generation that the files in `directory` are of.
pub(super) fn current(directory: &Path) -> Option<u64> {
    let entries = fs::read_dir(directory).ok()?;
    let links = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let hidden = entry.file_name().to_str()?.starts_with(".holdfast-");
        hidden.then(|| fs::read_link(entry.path().join("current")).ok()).flatten()
    });
    links.filter_map(|target: PathBuf| number(&target)).max()
}

/// `7` of `generations/7/files`.
fn number(target: &Path) -> Option<u64> {
    let mut parts = target.iter();
    parts.find(|part| *part == "generations")?;
    parts.next()?.to_str()?.parse().ok()
}
