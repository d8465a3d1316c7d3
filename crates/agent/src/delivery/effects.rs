//! Files that templates write beside their own: `writeToFile`.

use std::io::{self, Write as _};
use std::path::Path;

use holdfast_ctmpl::WriteFile;
use nix::unistd::{Group, User};
use tracing::error;

use crate::generation::{Folder, Owner};

/// Does what templates asked for. A file that cannot be written is told of, and no other suffers.
pub(super) fn write(effects: &[WriteFile]) {
    for effect in effects {
        if let Err(error) = write_one(effect) {
            error!(path = effect.path, %error, "writeToFile");
        }
    }
}

fn write_one(effect: &WriteFile) -> io::Result<()> {
    let (folder, name) = Folder::above(Path::new(&effect.path))?;
    let content = effect.content.expose();
    if effect.append {
        return folder.append(name, 0o666)?.write_all(content);
    }
    if folder.read(&name).is_ok_and(|there| there == *content) {
        return Ok(());
    }
    let owner = Owner { user: user(&effect.owner)?, group: group(&effect.group)? };
    folder.replace(&name, |new| folder.write(new, content, effect.permissions, owner))
}

/// The id of a user by name or number; none for an empty name.
pub(super) fn user(name: &str) -> io::Result<Option<u32>> {
    let named = || User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    id(name, "user", named)
}

/// The id of a group by name or number; none for an empty name.
pub(super) fn group(name: &str) -> io::Result<Option<u32>> {
    let named = || Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    id(name, "group", named)
}

fn id(name: &str, what: &str, named: impl FnOnce() -> Option<u32>) -> io::Result<Option<u32>> {
    if name.is_empty() {
        return Ok(None);
    }
    let id = name.parse().ok().or_else(named);
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} {name:?}"));
    id.map(Some).ok_or_else(missing)
}
