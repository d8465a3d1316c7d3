//! Patterns matched as somebody may have thought they are.

/// How the characters of a pattern are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As the server takes them.
    Plain,
    /// `*` stands for anything, wherever it is.
    StarAnywhere,
    /// `+` stands for any number of segments, but at least one.
    LongPlus,
    /// `+` stands for anything within a segment, wherever it is.
    PlusAnywhere,
    /// `{{...}}` stands for any one segment or part of one.
    Template,
    /// Capital letters are like small ones.
    AnyCase,
}

enum Piece {
    One(char),
    /// Anything; without slashes, and at least one character, where so.
    Run {
        slashes: bool,
        filled: bool,
    },
}

/// Whether `pattern`, taken by `reading`, covers `path`.
pub(super) fn covers(pattern: &str, path: &str, reading: Reading) -> bool {
    let (pattern, path) = match reading {
        Reading::AnyCase => (pattern.to_lowercase(), path.to_lowercase()),
        _ => (pattern.to_owned(), path.to_owned()),
    };
    let pattern = pattern.strip_prefix('/').unwrap_or(&pattern);
    let pieces = pieces(pattern, reading);
    let path: Vec<char> = path.chars().collect();
    // Which lengths of the path the pieces so far can have taken.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for piece in &pieces {
        let mut next = vec![false; path.len() + 1];
        match piece {
            Piece::One(c) => {
                for at in 0..path.len() {
                    next[at + 1] = reached[at] && path[at] == *c;
                }
            }
            Piece::Run { slashes, filled } => {
                let mut running = false;
                for at in 0..=path.len() {
                    if at > 0 && !*slashes && path[at - 1] == '/' {
                        running = false;
                    }
                    next[at] = running || (!filled && reached[at]);
                    running |= reached[at];
                }
            }
        }
        reached = next;
    }
    reached[path.len()]
}

fn pieces(pattern: &str, reading: Reading) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let has_segments = pattern == "+" || pattern.starts_with("+/") || pattern.contains("/+");
    let mut rest = pattern;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if reading == Reading::Template
            && rest.starts_with("{{")
            && let Some(end) = rest.find("}}")
        {
            pieces.push(Piece::Run { slashes: false, filled: true });
            rest = &rest[end + 2..];
            before = Some('}');
            continue;
        }
        let after = &rest[c.len_utf8()..];
        let alone = before.is_none_or(|c| c == '/') && (after.is_empty() || after.starts_with('/'));
        pieces.push(match c {
            '*' if after.is_empty() => Piece::Run { slashes: true, filled: false },
            '*' if reading == Reading::StarAnywhere => Piece::Run { slashes: true, filled: false },
            '+' if alone && has_segments => Piece::Run {
                slashes: reading == Reading::LongPlus,
                filled: reading == Reading::LongPlus,
            },
            '+' if reading == Reading::PlusAnywhere => Piece::Run { slashes: false, filled: false },
            c => Piece::One(c),
        });
        before = Some(c);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::Reading::*;
    use super::*;

    #[test]
    fn patterns_are_taken_as_asked() {
        for (pattern, path, reading, want) in [
            ("kv/data/*", "kv/data/a/b", Plain, true),
            ("kv/data/*", "kv/data", Plain, false),
            ("kv/+/a", "kv/x/a", Plain, true),
            ("kv/+/a", "kv/x/y/a", Plain, false),
            ("kv/+/a", "kv/x/y/a", LongPlus, true),
            ("kv/+", "kv/", LongPlus, false),
            ("kv/+", "kv/x/y", LongPlus, true),
            ("kv/*/db", "kv/a/b/db", StarAnywhere, true),
            ("kv/*/db", "kv/a/b/db", Plain, false),
            ("kv/app+/db", "kv/app1/db", PlusAnywhere, true),
            ("kv/app+/db", "kv/app1/x/db", PlusAnywhere, false),
            ("kv/{{a.b}}/*", "kv/web/x", Template, true),
            ("kv/{{a.b}}/*", "kv//x", Template, false),
            ("kv/x-{{a.b}}", "kv/x-1", Template, true),
            ("kv/App", "kv/app", AnyCase, true),
            ("/kv/a", "kv/a", Plain, true),
        ] {
            assert_eq!(covers(pattern, path, reading), want, "{pattern} {path} {reading:?}");
        }
    }
}
