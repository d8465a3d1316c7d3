//! Comments that say that something is meant: `# holdfast doctor: allow wide-perms`.
//!
//! Such a comment holds for its own line, or, alone on a line, for the next one that is no comment.
//! `allow-file` holds for the whole file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_hcl::Position;

use super::rules;
use crate::finding::{File, Finding};

/// What a comment for us begins with.
const MARK: &str = "holdfast doctor:";

/// What the comments of a file say.
#[derive(Debug, Default)]
pub(super) struct Comments {
    /// Rules that do not count on a line.
    lines: BTreeMap<u32, Vec<String>>,
    /// Rules that do not count in the file.
    everywhere: Vec<String>,
    /// The role that an agent logs in as.
    pub(super) role: Option<String>,
    unknown: Vec<(Position, String)>,
}

/// Leaves out what is allowed, by name or by a comment, and what is found twice; the rest in the
/// order of the files.
pub(super) fn apply<'f>(
    mut findings: Vec<Finding>,
    files: impl Iterator<Item = &'f File>,
    names: &[String],
) -> Vec<Finding> {
    for file in files {
        findings.extend(Comments::read(&file.text).mistakes(file));
    }
    let mut comments: BTreeMap<PathBuf, Comments> = BTreeMap::new();
    let mut kept = Vec::new();
    for mut finding in findings {
        let path = finding.file.path.clone();
        let said = comments.entry(path).or_insert_with(|| Comments::read(&finding.file.text));
        let rule = finding.rule;
        if said.everywhere.iter().chain(names).any(|name| name == rule) {
            continue;
        }
        let mut places =
            finding.at.into_iter().chain(finding.also).filter(|at| !said.on(*at, rule));
        if finding.at.is_some() {
            let Some(first) = places.next() else { continue };
            finding.at = Some(first);
        }
        finding.also = places.collect();
        kept.push(finding);
    }
    let place = |finding: &Finding| (finding.file.path.clone(), finding.at, finding.rule);
    kept.sort_by_key(place);
    kept.dedup_by(|a, b| place(a) == place(b) && a.message == b.message);
    kept
}

impl Comments {
    pub(super) fn read(text: &str) -> Self {
        let mut said = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((_, rest)) = line.split_once(MARK) else { continue };
            let mut words = rest.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            let verb = words.next();
            if verb == Some("role") {
                said.role = words.next().map(str::to_owned);
                continue;
            }
            let column = line.find(MARK).map_or(0, |at| line[..at].chars().count()) + 1;
            let at = |line: usize| Position {
                line: u32::try_from(line + 1).unwrap_or(u32::MAX),
                column: u32::try_from(column).unwrap_or(u32::MAX),
            };
            // The first word that is no rule is the beginning of a reason, unless it is the first.
            let known: Vec<String> = words
                .clone()
                .take_while(|word| rules::ALL.contains(word))
                .map(str::to_owned)
                .collect();
            if known.is_empty() || !matches!(verb, Some("allow" | "allow-file")) {
                let word =
                    words.next().filter(|_| verb.is_some_and(|verb| verb.starts_with("allow")));
                said.unknown.push((at(index), word.or(verb).unwrap_or_default().to_owned()));
            } else if verb == Some("allow-file") {
                said.everywhere.extend(known);
            } else {
                let alone = is_comment(line);
                let next = lines.iter().skip(index).position(|line| !is_comment(line));
                let target = if alone { index + next.unwrap_or(0) } else { index };
                said.lines.entry(at(target).line).or_default().extend(known);
            }
        }
        said
    }

    fn mistakes(&self, file: &File) -> Vec<Finding> {
        let unknown = self.unknown.iter().map(|(at, word)| Finding {
            file: file.clone(),
            at: Some(*at),
            also: Vec::new(),
            rule: rules::UNKNOWN,
            message: format!("the comment allows {word:?}, and there is no such rule"),
            fix: format!("write allow or allow-file, and the names of rules{}", rules::meant(word)),
        });
        unknown.collect()
    }

    fn on(&self, at: Position, rule: &str) -> bool {
        self.lines.get(&at.line).is_some_and(|rules| rules.iter().any(|name| name == rule))
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["#", "//", "/*", "{{/*", "{{- /*"].iter().any(|mark| line.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_holds_for_its_line_or_the_next() {
        let text = "# holdfast doctor: allow on-disk, wide-perms because it is public\n# so\na = 1\n\
                    b = 2 # holdfast doctor: allow on-disk\n\
                    {{- /* holdfast doctor: allow-file missing-key */ -}}\n\
                    // holdfast doctor: role backend\n# holdfast doctor: allow on-disc\n";
        let said = Comments::read(text);
        let at = |line| Position { line, column: 1 };
        for (line, rule, want) in [
            (1, "on-disk", false),
            (3, "on-disk", true),
            (3, "wide-perms", true),
            (3, "missing-key", false),
            (4, "on-disk", true),
            (4, "wide-perms", false),
            (5, "on-disk", false),
        ] {
            assert_eq!(said.on(at(line), rule), want, "{line} {rule}");
        }
        assert_eq!(said.everywhere, ["missing-key"]);
        assert_eq!(said.role.as_deref(), Some("backend"));
        assert_eq!(said.unknown, [(Position { line: 7, column: 3 }, "on-disc".to_owned())]);
    }
}
