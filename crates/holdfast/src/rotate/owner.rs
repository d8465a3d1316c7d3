//! Whose a rotation is: one process, which others can tell to be alive or not.

use std::fs;

use serde::{Deserialize, Serialize};

/// The process that works on a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The machine's name, for people.
    pub(crate) host: String,
    /// The process id there.
    pub(crate) pid: u32,
    /// The machine's boot and the space of process ids that `pid` belongs to.
    place: String,
    /// When the process was started, in the kernel's ticks: process ids are used again.
    started: u64,
    /// Told apart from every other, also where nothing else can be told.
    pub(crate) nonce: String,
}

/// What can be said of an owner from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine, and does no more.
    Dead,
    /// It is on another machine: only its heartbeat tells.
    Elsewhere,
}

impl Owner {
    /// This process.
    pub(crate) fn this(nonce: String) -> Self {
        let pid = std::process::id();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            host: host.trim().to_owned(),
            pid,
            place: place(),
            started: started(pid).unwrap_or(0),
            nonce,
        }
    }

    /// Whether it lives.
    pub(crate) fn life(&self) -> Life {
        if self.place.is_empty() || self.place != place() {
            return Life::Elsewhere;
        }
        match started(self.pid) {
            Some(started) if started == self.started => Life::Alive,
            _ => Life::Dead,
        }
    }
}

/// Names the boot of this machine and the caller's space of process ids; empty where it cannot be
/// told.
fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let space = fs::read_link("/proc/self/ns/pid");
    match (boot, space) {
        (Ok(boot), Ok(space)) => format!("{} {}", boot.trim(), space.display()),
        _ => String::new(),
    }
}

/// When a process was started, in ticks since the boot. None for one that has ended.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state comes first after it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn owners_are_known_to_live_or_not() {
        let own = Owner::this("a".into());
        assert_eq!(own.life(), Life::Alive);
        assert_eq!(Owner { started: own.started + 1, ..own.clone() }.life(), Life::Dead);
        assert_eq!(Owner { place: "elsewhere".into(), ..own.clone() }.life(), Life::Elsewhere);
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let started = started(child.id()).unwrap();
        let other = Owner { pid: child.id(), started, ..own };
        assert_eq!(other.life(), Life::Alive);
        child.kill().unwrap();
        // Waited for or not: what was killed has no more to say.
        child.wait().unwrap();
        assert_eq!(other.life(), Life::Dead);
    }
}
