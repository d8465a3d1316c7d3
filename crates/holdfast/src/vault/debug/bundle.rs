//! What was collected, as files in a folder, and the folder as one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_client::vault::Address;
use holdfast_types::{Clock as _, SystemClock, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use super::capture::{Collected, Problem};
use super::plan::{Plan, Target};
use super::{Debug, time};
use crate::vault::json;

/// How times stand in names of files.
const FILE_TIME: &str = "%Y-%m-%dT%H-%M-%SZ";
/// Endings that a packed file may have; the first is added where none is there.
const ENDINGS: [&str; 2] = [".tar.gz", ".tgz"];
const LOG: &str = "bao.log";

/// A folder that only its owner can read, and the file that it becomes.
pub(super) struct Bundle {
    folder: PathBuf,
    packed: Option<String>,
}

/// `index.json`: what is in the folder, and what is not.
#[derive(Serialize)]
pub(super) struct Index {
    version: u32,
    pub(super) vault_address: String,
    pub(super) client_version: String,
    pub(super) server_version: String,
    timestamp: String,
    duration_seconds: u64,
    interval_seconds: u64,
    metrics_interval_seconds: u64,
    compress: bool,
    raw_args: Vec<String>,
    targets: Vec<&'static str>,
    output: Value,
    errors: Vec<Problem>,
}

impl Index {
    pub(super) fn new(
        flags: &Debug,
        plan: &Plan,
        address: &Address,
        server_version: &str,
        started: Timestamp,
    ) -> Self {
        Self {
            version: 1,
            vault_address: address.to_string(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_version: server_version.to_owned(),
            timestamp: started.to_string(),
            duration_seconds: plan.duration.as_secs(),
            interval_seconds: plan.interval.as_secs(),
            metrics_interval_seconds: plan.metrics_interval.as_secs(),
            compress: flags.compress,
            raw_args: std::env::args().skip_while(|word| word != "debug").skip(1).collect(),
            targets: plan.targets.iter().map(|target| target.name()).collect(),
            output: Value::Null,
            errors: Vec::new(),
        }
    }
}

impl Bundle {
    /// Makes the folder.
    pub(super) fn create(
        output: Option<&str>,
        started: Timestamp,
        compress: bool,
    ) -> Result<Self, String> {
        let named = output.filter(|output| !output.is_empty()).map(str::to_owned);
        let named = named.unwrap_or_else(|| format!("bao-debug-{}", time(started, FILE_TIME)));
        let named = named.trim_end_matches('/');
        let ending = ENDINGS.into_iter().find(|ending| named.ends_with(ending));
        let (folder, packed) = match (compress, ending) {
            (false, _) => (named, None),
            (true, None) => (named, Some(format!("{named}{}", ENDINGS[0]))),
            (true, Some(ending)) => (named.trim_end_matches(ending), Some(named.to_owned())),
        };
        if let Some(packed) = &packed
            && Path::new(packed).exists()
        {
            return Err(format!("output file already exists: {packed}"));
        }
        if Path::new(folder).exists() {
            return Err(format!("output directory already exists: {folder}"));
        }
        make_folder(Path::new(folder))?;
        Ok(Self { folder: folder.into(), packed })
    }

    /// What is left in the end.
    pub(super) fn output(&self) -> &str {
        self.packed.as_deref().unwrap_or(self.folder.to_str().unwrap_or_default())
    }

    /// Where the log goes as it comes.
    pub(super) fn log_file(&self) -> Result<File, String> {
        make_file(&self.folder.join(LOG))
    }

    /// Writes down what a process told of itself now.
    pub(super) fn write_profile(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let folder = self.folder.join(time(SystemClock.now(), FILE_TIME));
        if !folder.exists() {
            make_folder(&folder)?;
        }
        let path = folder.join(format!("{name}.prof"));
        make_file(&path)?.write_all(bytes).map_err(|error| written(&path, &error))
    }

    /// Writes all files, the index last.
    pub(super) fn write(&self, all: Vec<Collected>, mut index: Index) -> Result<(), String> {
        for Collected { target, documents, problems } in all {
            index.errors.extend(problems);
            if let Some(file) = Target::file(target).filter(|_| !documents.is_empty()) {
                self.write_json(file, &documents)?;
            }
        }
        index.output = listing(&self.folder).map_err(|error| written(&self.folder, &error))?;
        self.write_json("index.json", &index)
    }

    fn write_json(&self, name: &str, document: &impl Serialize) -> Result<(), String> {
        let path = self.folder.join(name);
        let text = json::write(document).map_err(|error| format!("{}: {error}", path.display()))?;
        make_file(&path)?.write_all(text.as_bytes()).map_err(|error| written(&path, &error))
    }

    /// Packs the folder, where it is to be packed, and removes it. Gives what is left.
    pub(super) fn finish(&self) -> Result<String, String> {
        let Some(packed) = &self.packed else { return Ok(self.output().to_owned()) };
        let failed = |error: std::io::Error| written(Path::new(packed), &error);
        let file = make_file(Path::new(packed))?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let name = self.folder.file_name().map_or(Path::new("debug"), Path::new);
        archive.append_dir_all(name, &self.folder).map_err(failed)?;
        let packing = archive.into_inner().map_err(failed)?;
        packing.finish().and_then(|file| file.sync_all()).map_err(failed)?;
        fs::remove_dir_all(&self.folder).map_err(|error| written(&self.folder, &error))?;
        Ok(packed.clone())
    }
}

fn make_folder(path: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| format!("unable to create output directory: {error}"))
}

fn make_file(path: &Path) -> Result<File, String> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| written(path, &error))
}

fn written(path: &Path, error: &std::io::Error) -> String {
    format!("write {}: {error}", path.display())
}

/// The files of a folder, and its folders by name.
fn listing(folder: &Path) -> std::io::Result<Value> {
    let mut files = Vec::new();
    let mut all = Map::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            all.insert(name, listing(&entry.path())?);
        } else {
            files.push(name);
        }
    }
    files.sort();
    all.insert("files".to_owned(), files.into());
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_written_over() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let started = Timestamp::from_second(1_800_000_000).unwrap();
        for (output, compress, want) in
            [("a", true, "a.tar.gz"), ("b.tgz", true, "b.tgz"), ("c/", false, "c")]
        {
            let made = || Bundle::create(Some(&at(output)), started, compress);
            let bundle = made().unwrap();
            assert!(made().err().unwrap().starts_with("output directory already exists: "));
            bundle.log_file().unwrap().write_all(b"line\n").unwrap();
            assert_eq!(listing(&bundle.folder).unwrap(), serde_json::json!({ "files": [LOG] }));
            assert_eq!(bundle.finish().unwrap(), at(want));
            assert!(Path::new(&at(want)).exists());
            assert_eq!(bundle.folder.exists(), !compress, "{output}");
            assert!(made().is_err());
        }
    }

    #[test]
    fn a_packed_folder_holds_its_files() {
        let home = tempfile::tempdir().unwrap();
        let output = home.path().join("x").display().to_string();
        let bundle = Bundle::create(Some(&output), Timestamp::UNIX_EPOCH, true).unwrap();
        bundle.log_file().unwrap().write_all(b"line\n").unwrap();
        let file = File::open(bundle.finish().unwrap()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let names = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (
                entry.path().unwrap().display().to_string().trim_end_matches('/').to_owned(),
                entry.header().mode().unwrap() & 0o777,
            )
        });
        let names: Vec<_> = names.collect();
        assert_eq!(names, [("x".to_owned(), 0o700), ("x/bao.log".to_owned(), 0o600)]);
    }
}
