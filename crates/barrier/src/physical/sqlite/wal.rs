//! Tells a write-ahead log that a crash cut short from one that rotted.
//!
//! SQLite reads the log up to the first frame that does not check, and forgets the rest without a
//! word. After a crash that is right for the transaction that was being written. But every
//! transaction is flushed before the next one begins, so at most one can be incomplete: when two
//! or more commits stand behind the first bad frame, all but the last had been acknowledged.
//!
//! Source: SQLite's "Database File Format", section 4.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Where a header, and a frame's header, have the two salts.
const SALTS: std::ops::Range<usize> = 16..24;
const FRAME_SALTS: std::ops::Range<usize> = 8..16;
/// The log's first four bytes, but for the last bit: set, checksums are over big-endian words.
const MAGIC: u32 = 0x377f_0682;
/// Of every store that we make.
const PAGE: usize = 4096;

/// How a log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalState {
    /// Whole, empty, or cut short within its last transaction.
    Sound,
    /// This many commits stand behind the first bad part, and would be forgotten.
    Forgotten(usize),
}

/// Reads the log at `path`; one that is not there is sound.
pub(super) fn check_wal(path: &Path) -> io::Result<WalState> {
    match File::open(path) {
        Ok(file) => check(BufReader::with_capacity(1 << 16, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WalState::Sound),
        Err(error) => Err(error),
    }
}

fn check(mut log: impl Read) -> io::Result<WalState> {
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        // Shorter than its header: nothing was ever acknowledged from it.
        return Ok(WalState::Sound);
    }
    let magic = word(&header, 0);
    let mut sum = Checksum { big_endian: magic & 1 == 1, state: (0, 0) };
    sum.add(&header[..24]);
    let mut intact = magic & !1 == MAGIC
        && word(&header, 2) as usize == PAGE
        && sum.state == (word(&header, 6), word(&header, 7));
    // Frames of earlier rounds through the log have other salts. Without a header to tell, those of
    // the first frame are of the last round.
    let mut salts = intact.then(|| header[SALTS].to_vec());

    let mut frame = vec![0; FRAME_HEADER + PAGE];
    let mut forgotten = 0;
    while fill(&mut log, &mut frame)? {
        let salts = salts.get_or_insert_with(|| frame[FRAME_SALTS].to_vec());
        let of_this_round = frame[FRAME_SALTS] == *salts;
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        intact &= of_this_round && sum.state == (word(&frame, 4), word(&frame, 5));
        let is_commit = word(&frame, 1) != 0;
        if of_this_round && is_commit && !intact {
            forgotten += 1;
        }
    }
    Ok(if forgotten < 2 { WalState::Sound } else { WalState::Forgotten(forgotten) })
}

/// The log's running checksum.
struct Checksum {
    big_endian: bool,
    state: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.state;
        for pair in bytes.chunks_exact(8) {
            let read = |at: usize| {
                let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
            };
            first = first.wrapping_add(read(0)).wrapping_add(second);
            second = second.wrapping_add(read(4)).wrapping_add(first);
        }
        self.state = (first, second);
    }
}

/// The `index`th big-endian word.
fn word(bytes: &[u8], index: usize) -> u32 {
    let at = index * 4;
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Fills `buffer`, or says that the log ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::{configure, connect};
    use super::*;

    /// A log of five commits, and where each of them ends.
    fn log() -> (Vec<u8>, Vec<usize>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        File::create(&path).unwrap();
        let connection = connect(&path).unwrap();
        configure(&connection).unwrap();
        let read = || std::fs::read(directory.path().join("store.db-wal")).unwrap();
        connection.execute_batch("CREATE TABLE t (x BLOB)").unwrap();
        let mut ends = vec![read().len()];
        for _ in 0..4 {
            connection.execute("INSERT INTO t VALUES (zeroblob(6000))", []).unwrap();
            ends.push(read().len());
        }
        (read(), ends)
    }

    #[test]
    fn a_log_that_ends_anywhere_is_sound() {
        let (log, _) = log();
        for length in (0..log.len()).step_by(97).chain([log.len()]) {
            assert_eq!(check(&log[..length]).unwrap(), WalState::Sound, "{length}");
        }
    }

    #[test]
    fn commits_behind_a_flipped_bit_are_counted() {
        let (log, ends) = log();
        for byte in (0..log.len()).step_by(61) {
            let mut rotten = log.clone();
            rotten[byte] ^= 0x20;
            // A flip in a frame's header can hide that frame's commit, or make it look like one.
            let behind = ends.iter().filter(|end| byte < **end).count();
            match check(rotten.as_slice()).unwrap() {
                WalState::Sound => assert!(behind <= 2, "byte {byte}"),
                WalState::Forgotten(count) => {
                    assert!(count.abs_diff(behind) <= 1, "byte {byte}: {count}, not {behind}");
                }
            }
        }
    }

    #[test]
    fn frames_of_an_earlier_round_are_no_commits() {
        let (mut log, ends) = log();
        // The second round had two commits, and then its salts.
        for byte in &mut log[ends[1] + FRAME_SALTS.start..ends[1] + FRAME_SALTS.end] {
            *byte ^= 0xff;
        }
        let mut at = ends[1];
        while at < log.len() {
            log[at + FRAME_SALTS.start] = 0x11;
            at += FRAME_HEADER + PAGE;
        }
        assert_eq!(check(log.as_slice()).unwrap(), WalState::Sound);
        // Old zeroes where a header was to be written: nothing was ever flushed.
        assert_eq!(check([0; 3 * PAGE].as_slice()).unwrap(), WalState::Sound);
    }
}
