//! What of the program a server or an agent keeps in memory.
//!
//! A start runs through much code that is not run again, and the kernel maps more of it around what
//! is run. All of that counts as the process's memory until another needs room. So a part hands it
//! back once it has started; what it runs from then on is mapped again from the kernel's cache as it
//! is run.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// How long what a start leaves to be done beside the work is given.
const SETTLED: Duration = Duration::from_secs(1);

/// Hands back what only the start needed, once its last steps are done.
pub(crate) async fn settle() {
    tokio::time::sleep(SETTLED).await;
    if let Err(error) = hand_back() {
        tracing::debug!(%error, "the program stays in memory as it was started");
    }
}

/// Hands back the pages of the program's file that nobody writes to. Gives their size in bytes, of
/// which not all were in memory.
///
/// # Errors
/// The system does not tell what is mapped, or does not take it. Nothing is lost by that.
fn hand_back() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let program = program.to_str().unwrap_or_default();
    let mut handed_back = 0;
    for (start, length) in maps.lines().filter_map(|line| unwritten(line, program)) {
        discard(start, length)?;
        handed_back += length;
    }
    Ok(handed_back)
}

/// Start and length of the mapping in a line of `/proc/self/maps`, if it shows what is in the file
/// `program`: code, and what begins with the ELF header (constants, tables for unwinding). Neither
/// is written to when the program is linked. The read-only data in between, addresses of functions,
/// is: it must stay.
///
/// Source: `proc_pid_maps(5)`.
fn unwritten(line: &str, program: &str) -> Option<(NonNull<c_void>, usize)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let (mode, offset) = (fields.next()?, fields.next()?);
    let path = fields.nth(2)?.trim_start();
    let is_code = mode == "r-xp";
    let is_header = mode == "r--p" && offset.bytes().all(|digit| digit == b'0');
    if path != program || program.is_empty() || !(is_code || is_header) {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let length = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    Some((NonNull::new(start as *mut c_void)?, length))
}

#[expect(unsafe_code, reason = "madvise takes an address")]
fn discard(start: NonNull<c_void>, length: usize) -> io::Result<()> {
    // SAFETY: the kernel says that this range is a private mapping of the program's own file without
    // the right to write, and `unwritten` takes none that the linker writes to before it is
    // protected. So its pages are the file's, whose content cannot change while it runs (ETXTBSY).
    // MADV_DONTNEED on such a page means that the next access maps the same content again: what the
    // kernel does by itself when memory is short. Nobody unmaps the program.
    unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_linker_leaves_alone_is_handed_back() {
        let range =
            |start: usize, length| Some((NonNull::new(start as *mut c_void).unwrap(), length));
        for (line, want) in [
            ("1000-3000 r--p 00000000 fe:00 42    /bin/a b", range(0x1000, 0x2000)),
            ("3000-4000 r-xp 00002000 fe:00 42    /bin/a b", range(0x3000, 0x1000)),
            ("4000-5000 r--p 00003000 fe:00 42    /bin/a b", None),
            ("5000-6000 rw-p 00004000 fe:00 42    /bin/a b", None),
            ("5000-6000 rwxp 00000000 fe:00 42    /bin/a b", None),
            ("5000-6000 r-xs 00000000 fe:00 42    /bin/a b", None),
            ("6000-7000 r-xp 00000000 fe:00 43    /lib/libc.so.6", None),
            ("7000-8000 rw-p 00000000 00:00 0 ", None),
            ("7000-8000 r-xp 00000000 00:00 0                  [vdso]", None),
        ] {
            assert_eq!(unwritten(line, "/bin/a b"), want, "{line}");
        }
    }

    /// Run from here, the code that was handed back is still the same code.
    #[test]
    fn what_is_handed_back_goes_on_running() {
        assert!(hand_back().unwrap() > 1 << 20);
        assert_eq!((1..=10).map(|number| format!("{number}")).collect::<String>(), "12345678910");
        assert!(hand_back().is_ok());
    }
}
