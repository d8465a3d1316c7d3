//! Values that several blocks share: modes, signals, users.

use std::path::PathBuf;

use holdfast_hcl::{Block, Problems, Settings, ValueKind};
use nix::sys::signal::Signal;

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// By its number.
    Id(u32),
    /// By its name in the system's database.
    Name(String),
}

/// The permission bits of a file: `0640` and `"0640"`, octal. A number without a leading zero is
/// decimal, as HCL1 has it, and JSON has no other.
pub(super) fn mode(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<u32> {
    let value = settings.value(key)?;
    let mode = match &value.kind {
        ValueKind::String(text) => {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            u32::from_str_radix(digits, 8).ok()
        }
        _ => value.as_integer().and_then(|mode| u32::try_from(mode).ok()),
    };
    match mode {
        Some(mode) if mode <= 0o777 => Some(mode),
        Some(mode) if matches!(&value.kind, ValueKind::Number(text) if !text.starts_with('0')) => {
            let text = format!("is a decimal number, mode {mode:o}: write 0{mode}");
            settings.refuse(key, text);
            None
        }
        _ => {
            settings.refuse(key, "expected an octal mode of at most 0777, such as 0640");
            None
        }
    }
}

/// A signal by its name: `SIGHUP`, or `HUP`.
pub(super) fn signal(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<Signal> {
    let text = settings.string(key).filter(|text| !text.is_empty())?;
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    let signal = name.parse().ok();
    if signal.is_none() {
        settings.refuse(key, format!("{text:?} is no signal: write its name, such as \"SIGHUP\""));
    }
    signal
}

/// A user or group: `by_name` takes a name or a number, `by_id` a number. Of both the first counts.
pub(super) fn principal(
    settings: &mut Settings<'_, '_>,
    by_name: &'static str,
    by_id: &'static str,
) -> Option<Principal> {
    let id = id(settings, by_id).map(Principal::Id);
    let text = settings.string(by_name).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_or_else(|_| Principal::Name(text.clone()), Principal::Id))
        .or(id)
}

/// The number of a user or group; -1 stands for none, as in C.
pub(super) fn id(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<u32> {
    let number = settings.integer(key).filter(|number| *number != -1)?;
    let id = u32::try_from(number).ok();
    if id.is_none() {
        settings.refuse(key, "is no number of a user or group");
    }
    id
}

/// A path; empty counts as absent.
pub(super) fn path(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<PathBuf> {
    settings.string(key).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// A path that must be given.
pub(super) fn required_path(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    what: &str,
) -> Option<PathBuf> {
    let path = path(settings, key);
    if path.is_none() {
        settings.refuse(key, format!("is missing: {what}"));
    }
    path
}

/// Reads the one block of a name. Further ones are reported.
pub(super) fn block<T>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    read: impl FnOnce(&Block<'_>, &mut Problems) -> T,
) -> Option<T> {
    let blocks = settings.blocks(key);
    if let [_, second, ..] = &blocks[..] {
        let position = second.position;
        settings.problems().add(position, key, "stands here a second time, where one is allowed");
    }
    blocks.last().map(|block| read(block, settings.problems()))
}

/// Reads the last block of a name, as consul-template does for blocks within a template.
pub(super) fn last_block<T>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    read: impl FnOnce(&Block<'_>, &mut Problems) -> T,
) -> Option<T> {
    let blocks = settings.blocks(key);
    blocks.last().map(|block| read(block, settings.problems()))
}

/// Reads every block of a name.
pub(super) fn blocks<T>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    read: impl Fn(&Block<'_>, &mut Problems) -> T,
) -> Vec<T> {
    let blocks = settings.blocks(key);
    blocks.iter().map(|block| read(block, settings.problems())).collect()
}

/// The type of a block: its label, `sink "file" { ... }`, or `type = "file"` in it.
pub(super) fn kind(block: &Block<'_>, settings: &mut Settings<'_, '_>) -> Option<String> {
    let inside = settings.string("type").filter(|kind| !kind.is_empty());
    let kind = inside.or_else(|| block.labels.first().map(|label| (*label).to_owned()));
    if kind.is_none() {
        settings.problems().add(block.position, "type", "is missing");
    }
    kind.map(|kind| kind.to_ascii_lowercase())
}

/// One of several words.
pub(super) fn word<T: Copy>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    words: &[(&str, T)],
) -> Option<T> {
    let text = settings.string(key).filter(|text| !text.is_empty())?;
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
    if found.is_none() {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        settings.refuse(key, format!("expected one of {}", words.join(", ")));
    }
    found.map(|(_, value)| *value)
}
