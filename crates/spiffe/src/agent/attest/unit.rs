//! Selectors that a process's cgroup gives: `cgroup:path`, `systemd:id`.

use crate::Selector;

/// What ends the name of a unit that has processes of its own.
const KINDS: [&str; 6] = [".service", ".scope", ".socket", ".mount", ".swap", ".timer"];

/// The cgroup itself, and the systemd unit that it belongs to.
pub(super) fn selectors(cgroup: &str) -> Vec<Selector> {
    let mut selectors = vec![Selector::new("cgroup", format!("path:{cgroup}"))];
    selectors.extend(unit(cgroup).map(|unit| Selector::new("systemd", format!("id:{unit}"))));
    selectors
}

/// The outermost unit of a path, as systemd itself finds it.
///
/// What is inside of a unit may be named by whoever the unit was given to: a user can have
/// `.../user@1000.service/app.slice/web.service`, which is not the system's `web.service`.
fn unit(cgroup: &str) -> Option<&str> {
    let mut parts = cgroup.split('/').filter(|part| !part.is_empty());
    let first = parts.find(|part| !part.ends_with(".slice"))?;
    KINDS.iter().any(|kind| first.ends_with(kind)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_outermost_one() {
        for (cgroup, want) in [
            ("/system.slice/web.service", Some("web.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            (
                "/user.slice/user-1.slice/user@1.service/app.slice/web.service",
                Some("user@1.service"),
            ),
            ("/user.slice/user-1.slice/session-3.scope", Some("session-3.scope")),
            ("/holdfast-1/backend", None),
            ("/holdfast-1/web.service", None),
            ("/", None),
        ] {
            assert_eq!(unit(cgroup), want, "{cgroup}");
        }
    }
}
