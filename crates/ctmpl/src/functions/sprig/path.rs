//! Paths, by their slashes.

use crate::Value;
use crate::functions::Function;
use crate::functions::Parameter::Text;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_base", &[Text], |_, arguments| Ok(of(arguments, base))),
    Function::derives("sprig_osBase", &[Text], |_, arguments| Ok(of(arguments, base))),
    Function::derives("sprig_dir", &[Text], |_, arguments| Ok(of(arguments, directory))),
    Function::derives("sprig_osDir", &[Text], |_, arguments| Ok(of(arguments, directory))),
    Function::derives("sprig_clean", &[Text], |_, arguments| Ok(of(arguments, clean))),
    Function::derives("sprig_osClean", &[Text], |_, arguments| Ok(of(arguments, clean))),
    Function::derives("sprig_ext", &[Text], |_, arguments| Ok(of(arguments, extension))),
    Function::derives("sprig_osExt", &[Text], |_, arguments| Ok(of(arguments, extension))),
    Function::derives("sprig_isAbs", &[Text], |_, arguments| {
        Ok(Value::bool(arguments[0].bytes().starts_with(b"/")))
    }),
    Function::derives("sprig_osIsAbs", &[Text], |_, arguments| {
        Ok(Value::bool(arguments[0].bytes().starts_with(b"/")))
    }),
];

fn of(arguments: &[Value], part: fn(&[u8]) -> Vec<u8>) -> Value {
    Value::text(part(arguments[0].bytes()))
}

/// The last element: `.` of nothing, `/` of slashes.
fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let trimmed = &path[..end];
    let start = trimmed.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    if trimmed.is_empty() { b"/".to_vec() } else { trimmed[start..].to_vec() }
}

/// All but the last element, cleaned.
fn directory(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    clean(&path[..end])
}

/// The shortest path that means the same, without looking at any disk.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// From the last full stop of the last element.
fn extension(path: &[u8]) -> Vec<u8> {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let last = &path[start..];
    last.iter().rposition(|byte| *byte == b'.').map_or(Vec::new(), |at| last[at..].to_vec())
}
