//! The record of a clean stop, `<store>.clean`.
//!
//! It holds a digest of the whole file. The next start compares it, then removes it before it
//! changes the store; so a store that has no record was not stopped cleanly.
//!
//! A start that compares beside its first requests keeps the record until then, as
//! `<store>.checking`: the file itself is not changed before, only its log. So the start after a kill
//! compares, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::files::{beside, private, sync_directory};

/// What the name of a record ends in; and of one that is yet to be compared.
const CLEAN: &str = ".clean";
const CHECKING: &str = ".checking";

/// What a clean stop writes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopRecord {
    /// SHA-256 of the store's file.
    pub(super) file: [u8; 32],
    /// Digest of all rows' keys and checksums (see [`super::inspect`]).
    pub(super) rows: [u8; 32],
}

/// What is found at start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing: a new store, or one that was not stopped cleanly.
    Nothing,
    /// A record that is damaged itself, and says nothing about the store.
    Illegible,
    /// A sound record.
    Record(StopRecord),
}

impl StopRecord {
    /// Reads the record of the store at `path`.
    pub(super) fn find(path: &Path) -> io::Result<Found> {
        Self::find_at(&beside(path, CLEAN))
    }

    /// Reads the record that an earlier start had yet to compare.
    pub(super) fn find_kept(path: &Path) -> io::Result<Found> {
        Self::find_at(&beside(path, CHECKING))
    }

    fn find_at(record: &Path) -> io::Result<Found> {
        let text = match fs::read(record) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        Ok(Self::parse(&text).map_or(Found::Illegible, Found::Record))
    }

    /// Writes the record for the store at `path`, whose file is complete and closed.
    pub(super) fn write(path: &Path, rows: [u8; 32]) -> io::Result<()> {
        let store = File::open(path)?;
        store.sync_all()?;
        let record = Self { file: hash(&store)?, rows };
        let (partial, clean) = (beside(path, ".clean.partial"), beside(path, CLEAN));
        let mut file =
            private(OpenOptions::new().write(true).create(true).truncate(true)).open(&partial)?;
        file.write_all(record.encode().as_bytes())?;
        file.sync_all()?;
        fs::rename(partial, clean)?;
        sync_directory(path)
    }

    /// Removes the record, compared or not: from now on the store may differ from it.
    pub(super) fn remove(path: &Path) -> io::Result<()> {
        for suffix in [CLEAN, CHECKING] {
            match fs::remove_file(beside(path, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync_directory(path)
    }

    /// Keeps the record for the check that goes on: from now on the store's log may hold more.
    pub(super) fn keep(path: &Path) -> io::Result<()> {
        match fs::rename(beside(path, CLEAN), beside(path, CHECKING)) {
            Ok(()) => sync_directory(path),
            // It is kept from an earlier start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn encode(&self) -> String {
        let lines = format!(
            "file sha256 {}\nrows sha256 {}\n",
            hex::encode(self.file),
            hex::encode(self.rows)
        );
        let own = digest(&SHA256, lines.as_bytes());
        format!("{lines}record sha256 {}\n", hex::encode(own))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.lines();
        let mut value = |name: &str| -> Option<[u8; 32]> {
            let value = lines.next()?.strip_prefix(name)?;
            hex::decode(value).ok()?.try_into().ok()
        };
        let record = Self { file: value("file sha256 ")?, rows: value("rows sha256 ")? };
        // Covers the last line, and that nothing stands before, between or behind.
        (record.encode() == text).then_some(record)
    }
}

/// SHA-256 of a file that was just opened.
pub(super) fn hash(mut file: &File) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => context.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_when_it_is_damaged_itself() {
        let record = StopRecord { file: [0xab; 32], rows: [0xcd; 32] };
        let text = record.encode();
        assert_eq!(StopRecord::parse(text.as_bytes()), Some(record));
        for index in 0..text.len() {
            for bit in 0..8 {
                let mut rotten = text.clone().into_bytes();
                rotten[index] ^= 1 << bit;
                assert_eq!(StopRecord::parse(&rotten), None, "byte {index}, bit {bit}");
            }
            assert_eq!(StopRecord::parse(&text.as_bytes()[..index]), None);
        }
    }
}
