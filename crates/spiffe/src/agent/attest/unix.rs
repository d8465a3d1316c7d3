//! Selectors of type `unix`, in SPIRE's spelling.

use std::collections::BTreeSet;

use nix::unistd::{Gid, Group, Uid, User};

use super::process::Facts;
use crate::Selector;

/// `uid`, `user`, `gid`, `group`, `supplementary_gid`, `supplementary_group` and `path`.
///
/// A user or group without a name, and a path that cannot be believed, are left out.
pub(super) fn selectors(facts: &Facts, gaps: &mut Vec<String>) -> BTreeSet<Selector> {
    let mut selectors = BTreeSet::new();
    let mut add = |value: String| selectors.insert(Selector::new("unix", value));
    add(format!("uid:{}", facts.uid));
    match User::from_uid(Uid::from_raw(facts.uid)) {
        Ok(Some(user)) => _ = add(format!("user:{}", user.name)),
        _ => gaps.push(format!("unix:user: user {} has no name", facts.uid)),
    }
    add(format!("gid:{}", facts.gid));
    match group_name(facts.gid) {
        Some(name) => _ = add(format!("group:{name}")),
        None => gaps.push(format!("unix:group: group {} has no name", facts.gid)),
    }
    for gid in &facts.groups {
        add(format!("supplementary_gid:{gid}"));
        if let Some(name) = group_name(*gid) {
            add(format!("supplementary_group:{name}"));
        }
    }
    match facts.executable.to_str() {
        Some(path) if facts.is_path_ours => _ = add(format!("path:{path}")),
        Some(_) => {
            gaps.push("unix:path: the process has a view of the file system of its own".to_owned());
        }
        None => gaps.push("unix:path: the path is not UTF-8".to_owned()),
    }
    selectors
}

fn group_name(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}
