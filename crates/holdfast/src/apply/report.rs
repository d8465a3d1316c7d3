//! What `plan` found and `apply` did, for people and for programs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The changes, in the order in which they are made.
    pub(crate) changes: Vec<Change>,
    /// How many objects are as they should be.
    pub(crate) unchanged: usize,
    /// Whether the changes were made, or only found.
    pub(crate) applied: bool,
}

/// One object or schema file that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// What differs.
    pub(crate) kind: ChangeKind,
    /// The API path, or `database/<file>`.
    pub(crate) path: String,
    /// The file that says how it should be; none for what no file names any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<FieldChange>,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    /// It is not there.
    Create,
    /// The file was changed.
    Change,
    /// Somebody changed it on the engine.
    Mend,
    /// It is there as it should be, but was made by somebody else: recorded as ours from now on.
    Adopt,
    /// No file names it any more.
    Remove,
    /// It is there, differs, and is not ours: only with `--adopt`.
    Conflict,
}

/// One field that differs. Values of fields whose name says "secret" are not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FieldChange {
    /// Its name.
    pub(crate) name: String,
    /// What the engine holds.
    pub(crate) from: Value,
    /// What the file says.
    pub(crate) to: Value,
}

impl ChangeKind {
    fn symbol(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change => '~',
            Self::Mend => '!',
            Self::Adopt => '=',
            Self::Remove => '-',
            Self::Conflict => 'x',
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Mend => "mend: changed outside of the platform directory",
            Self::Adopt => "adopt: exists already, as it should be",
            Self::Remove => "remove: no file names it any more",
            Self::Conflict => "conflict: exists, differs, and is not this platform's",
        }
    }
}

impl Report {
    /// The report as text, a line a change and one for each field.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let Change { kind, path, .. } = change;
            let _ = writeln!(text, "{} {path:<44} {}", kind.symbol(), kind.words());
            for field in &change.fields {
                let FieldChange { name, from, to } = field;
                let _ = writeln!(text, "    {name}: {} -> {}", short(from), short(to));
            }
        }
        let count = self.changes.len();
        let plural = if count == 1 { "change" } else { "changes" };
        let done = if self.applied && count > 0 { " made" } else { "" };
        let _ = writeln!(text, "{count} {plural}{done}, {} unchanged", self.unchanged);
        text
    }
}

/// A value on one line, cut where it is long.
fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
