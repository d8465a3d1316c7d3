//! Makes generations, flips to them, and removes them again.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Clock, SecretBytes, Timestamp};
use nix::fcntl::{Flock, FlockArg};
use tokio::time::Instant;
use tracing::{info, warn};

use super::destination::{Destination, Found, Placement, Problem};
use super::folder::{Access, Folder};
use super::manifest::{FileRecord, Manifest, SourceRecord};
use super::place::{self, Place};
use super::{GenerationError, at};

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
    /// The place, and the generations in it, by handle: whoever comes to own something above them
    /// cannot put others in their place.
    root: Folder,
    generations: Folder,
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
    until: Instant,
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
        let failed = |what| at(what, &place.root);
        let root = Folder::make(&place.root, 0o755).map_err(failed("make"))?;
        root.check_ours().map_err(failed("use"))?;
        let lock = root.lock_file("lock").map_err(failed("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| GenerationError::Locked { root: place.root.clone() })?;
        let generations = root.make_folder("generations", 0o755).map_err(failed("make"))?;
        generations.check_ours().map_err(failed("use"))?;
        let current = current_of(&root);
        let manifest = current.and_then(|number| read_manifest(&generations, number));
        let (mut last, mut old) = (current.unwrap_or(0), Vec::new());
        for name in generations.names().map_err(failed("read"))? {
            // What has another name is not ours to remove.
            let Some((number, is_whole)) = number_of(&name) else { continue };
            if is_whole && current.is_some_and(|current| number <= current) {
                old.extend(Some(number).filter(|number| Some(*number) != current));
                continue;
            }
            // Made, but never flipped to, or not even made.
            last = last.max(number);
            if let Err(error) = generations.remove_tree(&name) {
                warn!(name = %name.display(), %error, "remove a generation that was not finished");
            }
        }
        old.sort_unstable();
        let until = Instant::now() + GRACE;
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
            root,
            generations,
            _lock: lock,
        };
        publisher.abandon_strangers();
        if publisher.manifest.is_some() {
            publisher.place_files(&mut Vec::new());
        }
        Ok(publisher)
    }

    /// The place, by handle.
    pub(crate) fn root(&self) -> &Folder {
        &self.root
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
                read_manifest(&self.generations, number)
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
        self.file(index)?;
        let (folder, name) = self.find(index).ok()?;
        folder.read(name).ok().map(SecretBytes::new)
    }

    /// Where the file of destination `index` is in the current generation.
    fn find(&self, index: usize) -> io::Result<Found> {
        let files = self.generations.folder(self.number().to_string())?.folder("files")?;
        files.below(self.name(index))
    }

    /// Its path in a generation.
    fn name(&self, index: usize) -> &Path {
        let name = self.place.name(&self.files[index].destination.path);
        name.strip_prefix("/").unwrap_or(name)
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
            let manifest = self.write_generation(&wanted, &changed, &mut rejected)?;
            for index in &changed {
                let destination = &self.files[*index].destination;
                if !destination.backup {
                    continue;
                }
                let current = self.find(*index).ok();
                let kept = destination.prepare().and_then(|folder| {
                    destination.keep_old(&folder, &self.place, current.as_ref())
                });
                if let Err(problem) = kept {
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
        let Destination { mode, owner, .. } = self.files[change.index].destination;
        let file = self.find(change.index).and_then(|(folder, name)| {
            let metadata = folder.file(&name)?.metadata()?;
            Ok((folder, name, metadata))
        });
        let Ok((folder, name, metadata)) = file else { return true };
        metadata.len() != bytes.expose().len() as u64
            || mode.is_some_and(|mode| metadata.mode() & 0o7777 != mode)
            || owner.user.is_some_and(|user| metadata.uid() != user)
            || owner.group.is_some_and(|group| metadata.gid() != group)
            || folder.read(name).map(SecretBytes::new).ok().as_ref() != Some(bytes)
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
        rejected: &mut Vec<Rejected>,
    ) -> Result<Manifest, GenerationError> {
        let number = self.last + 1;
        let name = format!("{number}.tmp");
        let unfinished = self.place.generations().join(&name);
        self.generations.remove_tree(&name).map_err(at("remove", &unfinished))?;
        let manifest = self.fill(&name, number, wanted, changed, rejected);
        let moved = manifest.and_then(|manifest| {
            let moved = self.generations.rename(&name, number.to_string());
            moved.map_err(at("rename", &unfinished))?;
            Ok(manifest)
        });
        if moved.is_err() {
            let _ = self.generations.remove_tree(&name);
        } else {
            self.last = number;
        }
        moved
    }

    fn fill(
        &mut self,
        name: &str,
        number: u64,
        wanted: &[Option<Change>],
        changed: &[usize],
        rejected: &mut Vec<Rejected>,
    ) -> Result<Manifest, GenerationError> {
        let now = self.clock.now();
        let path = self.place.generations().join(name);
        let unfinished = self.generations.make_folder(name, 0o755).map_err(at("make", &path))?;
        let folder = unfinished.make_folder("files", 0o755).map_err(at("make", &path))?;
        let mut files = Vec::new();
        let mut folders = BTreeSet::new();
        for (index, change) in wanted.iter().enumerate() {
            let destination = &self.files[index].destination;
            let name = self.name(index);
            let path = path.join("files").join(name);
            let old = self.find(index).ok();
            let record = self.file(index).cloned();
            let fresh = changed.contains(&index);
            let mut default_mode = self.files[index].default_mode;
            let make = || folder.make_below(name).map_err(at("make", &path));
            match change.as_ref().map(|change| &change.content) {
                Some(Content::Rendered(bytes)) if fresh => {
                    let (parent, name) = make()?;
                    let (mode, chosen) = destination.mode(&self.place, old.as_ref());
                    default_mode = !chosen;
                    parent
                        .write(&name, bytes.expose(), mode, destination.owner)
                        .map_err(at("write", &path))?;
                }
                _ if record.is_none() => continue,
                _ => {
                    let (parent, name) = make()?;
                    let gone = || io::Error::from(io::ErrorKind::NotFound);
                    let shared = old.ok_or_else(gone).and_then(|(from, old)| {
                        from.share(&old, &parent, &name, destination.owner)
                    });
                    match shared {
                        // One that somebody removed is no reason to keep back the others.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            let problem = Problem::Gone(destination.path.clone());
                            rejected.push(Rejected { index, problem });
                            continue;
                        }
                        other => other.map_err(at("carry over", &path))?,
                    }
                }
            }
            folders.extend(name.ancestors().skip(1).map(Path::to_owned));
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
        let text = serde_json::to_vec(&manifest).unwrap_or_default();
        unfinished
            .write("manifest.json", &text, 0o600, super::Owner::default())
            .map_err(at("write", &path))?;
        // Last, and from the deepest: until then nobody but us can put anything there.
        for name in folders.iter().rev().filter(|name| !name.as_os_str().is_empty()) {
            let given = folder
                .below(name)
                .and_then(|(parent, last)| parent.folder(last)?.set_access(self.access_of(name)));
            given.map_err(at("give", &path))?;
        }
        Ok(manifest)
    }

    /// Who gets into a directory of a generation: whoever gets into the one that it stands for.
    fn access_of(&self, name: &Path) -> Access {
        match Folder::open(&self.place.base.join(name)) {
            Ok(folder) => folder.access(),
            // Made when a file is placed there, for all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Access::own(0o755),
            Err(_) => Access::own(0o700),
        }
    }

    /// The moment at which everything changes.
    fn flip(&mut self, manifest: Manifest) -> Result<(), GenerationError> {
        let target = PathBuf::from(format!("generations/{}/files", manifest.generation));
        let flipped = self.root.link(OsStr::new("current"), &target, |_| Ok(()));
        flipped.map_err(at("flip", &self.place.current()))?;
        if let Some(old) = self.manifest.replace(manifest) {
            self.old.push(Old { number: old.generation, until: Instant::now() + GRACE });
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
            let destination = &self.files[index].destination;
            let found = self.find(index);
            let placed = destination.prepare().and_then(|folder| {
                let found = found.map_err(|_| Problem::Gone(destination.path.clone()))?;
                destination.place(&folder, &self.place, &found, self.links)
            });
            self.files[index].placement = placed.as_ref().ok().copied();
            match placed {
                Ok(_) => {}
                Err(problem) => {
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
        let now = Instant::now();
        let goes = |old: &Old| old.number < number && old.until <= now;
        let gone: Vec<u64> =
            self.old.iter().filter(|old| goes(old)).map(|old| old.number).collect();
        self.old.retain(|old| !goes(old));
        for number in &gone {
            if let Err(error) = self.generations.remove_tree(number.to_string()) {
                warn!(generation = number, %error, "remove an old generation");
            }
        }
        gone
    }
}

/// The number that `current` leads to.
fn current_of(root: &Folder) -> Option<u64> {
    let link = root.read_link("current").ok()??;
    link.parent()?.file_name()?.to_str()?.parse().ok()
}

/// The number of a generation by its name, and whether it is whole.
fn number_of(name: &OsString) -> Option<(u64, bool)> {
    let name = name.to_str()?;
    let number = name.strip_suffix(".tmp").unwrap_or(name);
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| is_number)?, number == name))
}

fn read_manifest(generations: &Folder, number: u64) -> Option<Manifest> {
    let read = || {
        let folder = generations.folder(number.to_string())?;
        folder.check_ours()?;
        let text = folder.read("manifest.json")?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let manifest = read();
    manifest.inspect_err(|error| warn!(number, %error, "read what was delivered")).ok()
}
