//! Looking at the disks, once a minute.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::level::Level;
use super::reserve::Reserve;
use super::reserves::Reserves;
use super::usage::{self, Usage};
use crate::front::Chain;

/// How often the disks are looked at.
const EVERY: Duration = Duration::from_secs(60);

/// Something that grows on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    /// What it is, such as `the store`.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

const STORE: &str = "the store";

impl Watched {
    fn store(path: PathBuf) -> Self {
        Self { name: STORE.to_owned(), path }
    }

    fn is_store(&self) -> bool {
        self.name == STORE
    }
}

/// A file system and what of ours lies on it.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    usage: Usage,
    watched: Vec<Watched>,
}

/// Warns of disks that fill up, from now on: of that of the store at `store`, and of those that hold
/// what `more` names at the time; on those, room is set aside when they are first seen.
pub(crate) async fn watch(
    store: Option<(PathBuf, Option<u64>)>,
    more: impl Fn() -> Vec<Watched>,
) -> Infallible {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Said::default();
    let mut reserves = store.as_ref().map(|(path, bytes)| Reserves::of(path, *bytes));
    loop {
        tick.tick().await;
        let of_store = store.iter().map(|(path, _)| Watched::store(path.clone()));
        let watched: Vec<_> = of_store.chain(more()).collect();
        // A file system on a network may keep us waiting.
        let looked = tokio::task::spawn_blocking(move || {
            let disks = measure(watched);
            if let Some(reserves) = &mut reserves {
                hold(reserves, &disks);
            }
            (disks, reserves)
        });
        let disks;
        (disks, reserves) = looked.await.unwrap_or_default();
        for disk in said.news(&disks) {
            tell(disk);
        }
    }
}

/// Sets room aside on the disks that have nothing but audit files; the store's has its own.
fn hold(reserves: &mut Reserves, disks: &BTreeMap<u64, Disk>) {
    for (number, disk) in disks {
        let [first, ..] = disk.watched.as_slice() else { continue };
        if disk.watched.iter().any(Watched::is_store) {
            continue;
        }
        if let Err(error) = reserves.hold(*number, &first.path) {
            let error = Chain(&error);
            warn!(path = %first.path.display(), %error, "no room is set aside for when the disk is full");
        }
    }
}

/// The file systems by number.
fn measure(watched: Vec<Watched>) -> BTreeMap<u64, Disk> {
    let mut disks = BTreeMap::new();
    for watched in watched {
        match usage::find(&watched.path) {
            Ok(Some((number, usage))) => {
                let disk = disks.entry(number).or_insert(Disk { usage, watched: Vec::new() });
                disk.watched.push(watched);
            }
            Ok(None) => {}
            // Whoever writes there fails as well, and says so louder.
            Err(error) => debug!(path = %watched.path.display(), %error, "look at a disk"),
        }
    }
    disks
}

/// What was said of each file system, by its number.
#[derive(Default)]
struct Said(BTreeMap<u64, Level>);

impl Said {
    /// Those of `disks` that are to be warned of now.
    fn news<'d>(&mut self, disks: &'d BTreeMap<u64, Disk>) -> Vec<&'d Disk> {
        let earlier = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for (number, disk) in disks {
            let before = earlier.get(number).copied().unwrap_or_default();
            let now = before.next(disk.usage.percent());
            if now > before {
                news.push(disk);
            }
            self.0.insert(*number, now);
        }
        news
    }
}

fn tell(disk: &Disk) {
    let names: Vec<_> = disk.watched.iter().map(|watched| watched.name.as_str()).collect();
    let paths: Vec<_> = disk.watched.iter().map(|it| it.path.display().to_string()).collect();
    let has_reserve = disk.watched.iter().any(|it| Reserve::beside(&it.path).is_there());
    let way_out = if has_reserve {
        "; should it become full, `holdfast recover space` with this server's configuration \
         frees a reserve"
    } else {
        ""
    };
    warn!(
        paths = paths.join(" "),
        used_percent = disk.usage.percent(),
        free_bytes = disk.usage.available,
        "the disk of {} is {} % full: make room on it, for on a full disk nothing is served{way_out}",
        names.join(" and "),
        disk.usage.percent(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(used: u64, name: &str) -> Disk {
        Disk {
            usage: Usage { size: 100, used, available: 100 - used },
            watched: vec![Watched { name: name.to_owned(), path: name.into() }],
        }
    }

    #[test]
    fn every_disk_is_warned_of_by_itself() {
        let mut said = Said::default();
        let mut look = |store, audit| {
            let disks = BTreeMap::from([(1, disk(store, "store")), (2, disk(audit, "audit"))]);
            let news = said.news(&disks);
            news.iter().map(|disk| disk.watched[0].name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(look(10, 85), ["audit"]);
        assert_eq!(look(10, 85), [""; 0]);
        assert_eq!(look(90, 91), ["store", "audit"]);
        assert_eq!(look(78, 92), [""; 0]);
        assert_eq!(look(80, 92), ["store"]);
    }

    #[test]
    fn what_lies_on_one_disk_is_looked_at_together() {
        let folder = tempfile::tempdir().unwrap();
        let watched = |name: &str, path: PathBuf| Watched { name: name.to_owned(), path };
        let disks = measure(vec![
            watched("the store", folder.path().join("vault.db")),
            watched("audit device a/", folder.path().join("logs/a.log")),
            watched("audit device b/", "/dev/null".into()),
        ]);
        let [disk] = &disks.into_values().collect::<Vec<_>>()[..] else { panic!("one disk") };
        let names: Vec<_> = disk.watched.iter().map(|watched| watched.name.as_str()).collect();
        assert_eq!(names, ["the store", "audit device a/"]);
    }
}
