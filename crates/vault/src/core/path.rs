//! What a path may be, before anything looks at it.

use holdfast_logical::Operation;

use crate::wire::{Outgoing, OutgoingBody, Verb};

/// The longest path, in bytes: what the storage under OpenBao takes as a key.
const MAX_LENGTH: usize = 32_768;

/// Checks a path and gives it its final form: that of a list is a folder.
///
/// # Errors
/// The answer, in OpenBao's words: 400, without a body where there are characters that do not print.
pub(super) fn check(path: &str, verb: Verb) -> Result<String, Outgoing> {
    if path.chars().any(char::is_control) {
        return Err(Outgoing { status: 400, body: OutgoingBody::Empty, headers: Vec::new() });
    }
    if path.len() > MAX_LENGTH {
        return Err(Outgoing::errors(400, ["path is too long"]));
    }
    if path.split('/').any(|segment| segment == "..") {
        return Err(Outgoing::errors(400, ["relative paths not supported"]));
    }
    match verb {
        Verb::Write if path.ends_with('/') => {
            Err(Outgoing::errors(400, ["cannot write to a path ending in '/'"]))
        }
        Verb::List | Verb::Scan if !path.ends_with('/') => Ok(format!("{path}/")),
        _ => Ok(path.to_owned()),
    }
}

/// The operation, as far as the verb says it: whether a write creates is found out later.
pub(super) fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Read => Operation::Read,
        Verb::List => Operation::List,
        Verb::Scan => Operation::Scan,
        Verb::Write => Operation::Update,
        Verb::Patch => Operation::Patch,
        Verb::Delete => Operation::Delete,
        Verb::Help => Operation::Help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_refused_as_openbao_does() {
        for (path, verb, want) in [
            ("kv/data/a..b", Verb::Read, Ok("kv/data/a..b")),
            ("kv/metadata", Verb::List, Ok("kv/metadata/")),
            ("kv/metadata/", Verb::List, Ok("kv/metadata/")),
            ("kv/data/é x", Verb::Write, Ok("kv/data/é x")),
            ("kv/../x", Verb::Read, Err(400)),
            ("..", Verb::Read, Err(400)),
            ("kv/x\0", Verb::Read, Err(400)),
            ("kv/x\n", Verb::Read, Err(400)),
            ("kv/x\u{7f}", Verb::Read, Err(400)),
            ("kv/x/", Verb::Write, Err(400)),
            ("kv/x/", Verb::Delete, Ok("kv/x/")),
        ] {
            let got = check(path, verb).map_err(|refusal| refusal.status);
            assert_eq!(got.as_deref().map_err(|status| *status), want, "{path:?}");
        }
        assert!(check(&"a".repeat(MAX_LENGTH + 1), Verb::Read).is_err());
    }
}
