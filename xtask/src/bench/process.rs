//! What the system says of a process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process by its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

/// Memory in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident: also what other processes use as well, such as the C library.
    pub(super) rss: u64,
    /// Its share of what is resident. None where the system does not tell.
    pub(super) pss: Option<u64>,
    /// What no other process has: gone when this one ends.
    pub(super) private: Option<u64>,
}

impl Process {
    /// The processor time it has taken so far, user and system.
    pub(super) fn cpu(self) -> Result<Duration> {
        let text = self.read("stat")?;
        // The name in parentheses may hold anything; after it come state, and the times as the
        // 12th and 13th field from there, in ticks.
        let rest = text.rsplit_once(')').context("read /proc/<pid>/stat")?.1;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let total = ticks().zip(ticks()).map(|(user, system)| user + system);
        // What sysconf(_SC_CLK_TCK) is on every Linux.
        Ok(Duration::from_millis(total.context("read /proc/<pid>/stat")? * 10))
    }

    /// Its memory now.
    pub(super) fn memory(self) -> Result<Memory> {
        let rss = kilobytes(&self.read("status")?, "VmRSS:").context("read /proc/<pid>/status")?;
        let rollup = self.read("smaps_rollup").ok();
        let rollup = rollup.as_deref();
        let pss = rollup.and_then(|text| kilobytes(text, "Pss:"));
        let private = rollup.and_then(|text| {
            Some(kilobytes(text, "Private_Clean:")? + kilobytes(text, "Private_Dirty:")?)
        });
        Ok(Memory {
            rss: rss * 1024,
            pss: pss.map(|pss| pss * 1024),
            private: private.map(|private| private * 1024),
        })
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    }
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_own_process_is_known() {
        let own = Process(std::process::id());
        let before = own.cpu().unwrap();
        let start = Instant::now();
        while own.cpu().unwrap() < before + Duration::from_millis(30) {
            assert!(start.elapsed() < Duration::from_secs(30), "it takes no time to wait");
        }
        let memory = own.memory().unwrap();
        assert!(memory.rss > 1 << 20, "{memory:?}");
        assert!(memory.pss.is_none_or(|pss| pss <= memory.rss), "{memory:?}");
        assert!(memory.private.is_none_or(|private| private <= memory.rss), "{memory:?}");
    }
}
