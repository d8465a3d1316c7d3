//! What a process executes: which file that is, and its SHA-256.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use super::proc_path;

/// The largest program that is hashed, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024 * 1024;
/// So many hashes are kept; then it starts over, which costs reading the programs in use again.
const KEPT: usize = 1024;

/// A file, by the numbers that change when it, or what is in it, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Program {
    device: u64,
    inode: u64,
    size: u64,
    /// Of its contents, in seconds and nanoseconds. Its owner can set it as he likes.
    modified: (i64, i64),
    /// Of its inode: only the kernel sets it.
    changed: (i64, i64),
}

impl Program {
    /// What a process executes.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        Self::at(&proc_path(pid, "exe"))
    }

    /// The file that a path leads to.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Program {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The SHA-256 of programs, so that each is read once.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: Mutex<HashMap<Program, String>>,
    /// One file is read at a time.
    reading: Mutex<()>,
}

impl Hashes {
    /// The SHA-256 of what a process executes, in hexadecimal; `program` is what it was seen to be.
    pub(super) fn of(&self, pid: i32, program: Program) -> io::Result<String> {
        if let Some(known) = self.known(program) {
            return Ok(known);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(program) {
            return Ok(known);
        }
        let hash = hash(File::open(proc_path(pid, "exe"))?, program)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(program, hash.clone());
        Ok(hash)
    }

    fn known(&self, program: Program) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&program).cloned()
    }
}

/// The SHA-256 of a file that is, and stays, `program`.
fn hash(mut file: File, program: Program) -> io::Result<String> {
    let other = || io::Error::other("the program changed while it was read");
    if program.size > SIZE_LIMIT {
        let text = format!("the program is larger than {SIZE_LIMIT} bytes");
        return Err(io::Error::other(text));
    }
    if Program::from(&file.metadata()?) != program {
        return Err(other());
    }
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        if size > program.size {
            return Err(other());
        }
        context.update(&buffer[..count]);
    }
    if Program::from(&file.metadata()?) != program {
        return Err(other());
    }
    Ok(hex::encode(context.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_is_hashed_as_it_was_seen() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"abc").unwrap();
        let program = Program::at(file.path()).unwrap();
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(File::open(file.path()).unwrap(), program).unwrap(), want);
        file.write_all(b"d").unwrap();
        assert!(hash(File::open(file.path()).unwrap(), program).is_err());
    }
}
