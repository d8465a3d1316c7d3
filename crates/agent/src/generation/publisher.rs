//! Makes generations, flips to them, and removes them again.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Clock, SecretBytes, Timestamp};
use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};

use super::destination::{Destination, Placement, Problem};
use super::manifest::{FileRecord, Manifest, SourceRecord};
use super::place::{self, Place};
use super::{GenerationError, at, directory};

/// Old generations that wait for their consumers; beyond this the oldest goes all the same.
const KEPT: usize = 16;
/// No generation is removed sooner after the flip away from it. A reader on its way through
/// `current` may have been put to sleep with the old target in its hands.
const GRACE: Duration = Duration::from_secs(2);

/// What a publisher delivers, and where.
pub struct Settings {
    /// Where generations are kept.
    pub place: Place,
    /// What is delivered. Their paths are cleaned up by [`Publisher::open`].
    pub destinations: Vec<Destination>,
    /// Whether destinations may be links.
    pub links: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The one that writes the files of an agent. Calls block: they are file system calls, of which a
/// thousand take some milliseconds.
pub struct Publisher {
    place: Place,
    files: Vec<Delivered>,
    links: bool,
    clock: Arc<dyn Clock>,
    manifest: Option<Manifest>,
    /// The highest number that was ever used.
    last: u64,
    /// Older generations that are still there, the oldest first.
    old: Vec<Old>,
    _lock: Flock<File>,
}

struct Old {
    number: u64,
    /// Until when it stays in any case.
    until: Timestamp,
}

struct Delivered {
    destination: Destination,
    placement: Option<Placement>,
    /// Nobody chose a mode: the first time this is told.
    default_mode: bool,
}

/// What is to become of the file at one destination, by its position in [`Settings::destinations`].
pub struct Change {
    /// Which destination.
    pub index: usize,
    /// The bytes.
    pub content: Content,
    /// The template they come from.
    pub template: String,
    /// The secrets in them.
    pub sources: Vec<SourceRecord>,
    /// The leases of these, and of whatever else they depend on.
    pub leases: Vec<String>,
}

/// The bytes of a file.
pub enum Content {
    /// These.
    Rendered(SecretBytes),
    /// Those that are there: only what is known about them is new.
    Same,
}

/// What came of a publication.
#[derive(Debug)]
pub struct Published {
    /// The generation that is current now.
    pub generation: u64,
    /// Whether it was made just now.
    pub is_new: bool,
    /// The destinations whose bytes changed.
    pub changed: Vec<usize>,
    /// The destinations that could not be served.
    pub rejected: Vec<Rejected>,
}

/// A destination that could not be served.
#[derive(Debug)]
pub struct Rejected {
    /// Which one.
    pub index: usize,
    /// Why not.
    pub problem: Problem,
}

impl Publisher {
    /// Takes charge of the place, and of what an agent before this one left there: generations that
    /// were not finished are removed, the current one stands.
    ///
    /// # Errors
    /// Another agent has it; it cannot be made or read.
    pub fn open(settings: Settings) -> Result<Self, GenerationError> {
        let place = settings.place;
        directory::make(&place.root, 0o755).map_err(at("make", &place.root))?;
        let lock = Self::lock(&place)?;
        let generations = place.generations();
        directory::make(&generations, 0o755).map_err(at("make", &generations))?;
        let current = current_of(&place);
        let manifest = current.and_then(|number| read_manifest(&place, number));
        let (mut last, mut old) = (current.unwrap_or(0), Vec::new());
        for entry in fs::read_dir(&generations).map_err(at("read", &generations))? {
            let path = entry.map_err(at("read", &generations))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.parse::<u64>() {
                Ok(number) if Some(number) == current => {}
                Ok(number) if current.is_some_and(|current| number < current) => old.push(number),
                // Made, but never flipped to, or not even made.
                other => {
                    last = last.max(other.unwrap_or(0));
                    directory::remove_tree(&path).map_err(at("remove", &path))?;
                }
            }
        }
        old.sort_unstable();
        let until = settings.clock.now() + GRACE;
        let old = old.into_iter().map(|number| Old { number, until }).collect();
        let folder = std::env::current_dir().unwrap_or_default();
        let files = settings.destinations.into_iter().map(|mut destination| {
            destination.path = place::absolute(&folder, &destination.path);
            Delivered { destination, placement: None, default_mode: false }
        });
        let mut publisher = Self {
            files: files.collect(),
            links: settings.links,
            clock: settings.clock,
            manifest,
            last,
            old,
            place,
            _lock: lock,
        };
        publisher.abandon_strangers();
        if publisher.manifest.is_some() {
            publisher.place_files(&mut Vec::new());
        }
        Ok(publisher)
    }

    fn lock(place: &Place) -> Result<Flock<File>, GenerationError> {
        let path = place.root.join("lock");
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(at("open", &path))?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(at("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| GenerationError::Locked { root: place.root.clone() })
    }

    /// Where generations are kept.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The record of the current generation.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The record of a generation that is still there.
    pub fn manifest_of(&self, number: u64) -> Option<Manifest> {
        match &self.manifest {
            Some(manifest) if manifest.generation == number => Some(manifest.clone()),
            _ if self.old.iter().any(|old| old.number == number) => {
                read_manifest(&self.place, number)
            }
            _ => None,
        }
    }

    /// The record of the file at destination `index`, where it was ever delivered.
    pub fn file(&self, index: usize) -> Option<&FileRecord> {
        self.manifest.as_ref()?.file(&self.files[index].destination.path)
    }

    /// Where the file of destination `index` is found, cleaned up.
    pub fn destination(&self, index: usize) -> &Destination {
        &self.files[index].destination
    }

    /// Which destination is at `path`.
    pub fn index_of(&self, path: &Path) -> Option<usize> {
        self.files.iter().position(|file| file.destination.path == path)
    }

    /// How destination `index` leads to its file; None while it does not.
    pub fn placement(&self, index: usize) -> Option<Placement> {
        self.files[index].placement
    }

    /// Whether the mode of destination `index` is ours, because nobody chose one.
    pub fn has_default_mode(&self, index: usize) -> bool {
        self.files[index].default_mode
    }

    /// The bytes that readers of destination `index` find now.
    pub fn read(&self, index: usize) -> Option<SecretBytes> {
        let path = &self.files[index].destination.path;
        self.manifest.as_ref()?.file(path)?;
        fs::read(self.place.current().join(self.place.name(path))).ok().map(SecretBytes::new)
    }

    /// Makes `changes` visible, all at once. Where they change nothing there is no new generation.
    ///
    /// # Errors
    /// The file system refused a step, as when it is full: what was there stands.
    pub fn publish(&mut self, changes: Vec<Change>) -> Result<Published, GenerationError> {
        let mut rejected = Vec::new();
        let mut changed = Vec::new();
        let mut wanted: Vec<Option<Change>> = self.files.iter().map(|_| None).collect();
        let mut is_new = self.manifest.is_none();
        for change in changes {
            let index = change.index;
            if let Err(problem) = self.files[index].destination.prepare() {
                self.files[index].placement = None;
                rejected.push(Rejected { index, problem });
                continue;
            }
            if self.differs(&change) {
                changed.push(index);
            }
            is_new |= self.is_news(&change);
            wanted[index] = Some(change);
        }
        is_new |= !changed.is_empty();
        if is_new {
            let manifest = self.write_generation(&wanted, &changed)?;
            for index in &changed {
                let destination = &self.files[*index].destination;
                if destination.backup
                    && let Err(problem) = destination.keep_old()
                {
                    rejected.push(Rejected { index: *index, problem });
                }
            }
            self.flip(manifest)?;
        }
        self.place_files(&mut rejected);
        Ok(Published { generation: self.number(), is_new, changed, rejected })
    }

    /// Whether the file is not yet as `change` wants it.
    fn differs(&self, change: &Change) -> bool {
        let Content::Rendered(bytes) = &change.content else { return false };
        let destination = &self.files[change.index].destination;
        let path = self.place.current().join(self.place.name(&destination.path));
        let Ok(metadata) = fs::metadata(&path) else { return true };
        let owner = destination.owner;
        metadata.len() != bytes.expose().len() as u64
            || destination.mode.is_some_and(|mode| metadata.permissions().mode() & 0o7777 != mode)
            || owner.user.is_some_and(|user| metadata.uid() != user)
            || owner.group.is_some_and(|group| metadata.gid() != group)
            || fs::read(&path).map(SecretBytes::new).ok().as_ref() != Some(bytes)
    }

    /// Whether the record of the file is not yet as `change` tells it.
    fn is_news(&self, change: &Change) -> bool {
        self.file(change.index)
            .is_none_or(|file| file.sources != change.sources || file.leases != change.leases)
    }

    fn write_generation(
        &mut self,
        wanted: &[Option<Change>],
        changed: &[usize],
    ) -> Result<Manifest, GenerationError> {
        let number = self.last + 1;
        let unfinished = self.place.generations().join(format!("{number}.tmp"));
        directory::remove_tree(&unfinished).map_err(at("remove", &unfinished))?;
        let manifest = self.fill(&unfinished, number, wanted, changed);
        let whole = self.place.generation(number);
        let moved = manifest.and_then(|manifest| {
            fs::rename(&unfinished, &whole).map_err(at("rename", &unfinished))?;
            Ok(manifest)
        });
        if moved.is_err() {
            let _ = directory::remove_tree(&unfinished);
        } else {
            self.last = number;
        }
        moved
    }

    fn fill(
        &mut self,
        unfinished: &Path,
        number: u64,
        wanted: &[Option<Change>],
        changed: &[usize],
    ) -> Result<Manifest, GenerationError> {
        let now = self.clock.now();
        let folder = unfinished.join("files");
        directory::make(&folder, 0o755).map_err(at("make", &folder))?;
        let mut files = Vec::new();
        for (index, change) in wanted.iter().enumerate() {
            let destination = &self.files[index].destination;
            let name = self.place.name(&destination.path);
            let name = name.strip_prefix("/").unwrap_or(name);
            let path = folder.join(name);
            let old = self.place.current().join(name);
            let record = self.file(index).cloned();
            let fresh = changed.contains(&index);
            let mut default_mode = self.files[index].default_mode;
            match change.as_ref().map(|change| &change.content) {
                Some(Content::Rendered(bytes)) if fresh => {
                    directory::make_above(&path, 0o755).map_err(at("make", &path))?;
                    let (mode, chosen) = destination.mode();
                    default_mode = !chosen;
                    directory::write(&path, bytes.expose(), mode, destination.owner)
                        .map_err(at("write", &path))?;
                }
                _ if record.is_none() => continue,
                _ => {
                    directory::make_above(&path, 0o755).map_err(at("make", &path))?;
                    directory::share(&old, &path, destination.owner)
                        .map_err(at("carry over", &old))?;
                }
            }
            let before = record.filter(|_| !fresh);
            let (since, since_when) =
                before.as_ref().map_or((number, now), |file| (file.since, file.changed));
            let told = change.as_ref().map(|new| (&new.template, &new.sources, &new.leases));
            let known = before.as_ref().map(|file| (&file.template, &file.sources, &file.leases));
            let (template, sources, leases) = match told.or(known) {
                Some((template, sources, leases)) => {
                    (template.clone(), sources.clone(), leases.clone())
                }
                None => (String::new(), Vec::new(), Vec::new()),
            };
            files.push(FileRecord {
                destination: destination.path.clone(),
                template,
                since,
                changed: since_when,
                sources,
                leases,
            });
            self.files[index].default_mode = default_mode;
        }
        let manifest = Manifest { generation: number, published: now, files };
        let path = unfinished.join("manifest.json");
        let text = serde_json::to_vec(&manifest).unwrap_or_default();
        directory::write(&path, &text, 0o600, super::Owner::default())
            .map_err(at("write", &path))?;
        Ok(manifest)
    }

    /// The moment at which everything changes.
    fn flip(&mut self, manifest: Manifest) -> Result<(), GenerationError> {
        let current = self.place.current();
        let target = PathBuf::from(format!("generations/{}/files", manifest.generation));
        directory::link(&current, &target, |_| Ok(())).map_err(at("flip", &current))?;
        if let Some(old) = self.manifest.replace(manifest) {
            self.old.push(Old { number: old.generation, until: self.clock.now() + GRACE });
        }
        let beyond = self.old.len().saturating_sub(KEPT);
        let beyond = self.old.get(beyond).map_or(0, |old| old.number);
        for number in self.retire_below(beyond) {
            warn!(generation = number, "removed, though not all consumers are past it");
        }
        Ok(())
    }

    fn place_files(&mut self, rejected: &mut Vec<Rejected>) {
        for index in 0..self.files.len() {
            if self.file(index).is_none() {
                continue;
            }
            let file = &mut self.files[index];
            let placed = file
                .destination
                .prepare()
                .and_then(|()| file.destination.place(&self.place, self.links));
            match placed {
                Ok(placement) => file.placement = Some(placement),
                Err(problem) => {
                    file.placement = None;
                    rejected.retain(|rejected| rejected.index != index);
                    rejected.push(Rejected { index, problem });
                }
            }
        }
    }

    /// Files that no template makes any more have no reader's place any more.
    fn abandon_strangers(&self) {
        let Some(manifest) = &self.manifest else { return };
        let ours = |path: &PathBuf| self.files.iter().any(|file| file.destination.path == *path);
        for file in manifest.files.iter().filter(|file| !ours(&file.destination)) {
            info!(destination = %file.destination.display(), "no template makes this any more");
            if let Err(error) = Destination::abandon(&file.destination, &self.place) {
                warn!(destination = %file.destination.display(), %error, "remove its link");
            }
        }
    }

    /// The current generation's number, 0 before the first.
    pub fn number(&self) -> u64 {
        self.manifest.as_ref().map_or(0, |manifest| manifest.generation)
    }

    /// When the current generation was made.
    pub fn published(&self) -> Option<Timestamp> {
        self.manifest.as_ref().map(|manifest| manifest.published)
    }

    /// Older generations that are still there.
    pub fn old(&self) -> Vec<u64> {
        self.old.iter().map(|old| old.number).collect()
    }

    /// Removes the generations below `number`, but neither the current one nor one that was current
    /// a moment ago. Gives those that it removed.
    pub fn retire_below(&mut self, number: u64) -> Vec<u64> {
        let now = self.clock.now();
        let goes = |old: &Old| old.number < number && old.until <= now;
        let gone: Vec<u64> =
            self.old.iter().filter(|old| goes(old)).map(|old| old.number).collect();
        self.old.retain(|old| !goes(old));
        for number in &gone {
            let path = self.place.generation(*number);
            if let Err(error) = directory::remove_tree(&path) {
                warn!(path = %path.display(), %error, "remove an old generation");
            }
        }
        gone
    }
}

/// The number that `current` leads to.
fn current_of(place: &Place) -> Option<u64> {
    let link = fs::read_link(place.current()).ok()?;
    link.parent()?.file_name()?.to_str()?.parse().ok()
}

fn read_manifest(place: &Place, number: u64) -> Option<Manifest> {
    let path = place.generation(number).join("manifest.json");
    let read = fs::read(&path).and_then(|text| {
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    read.inspect_err(|error| warn!(path = %path.display(), %error, "read what was delivered")).ok()
}
