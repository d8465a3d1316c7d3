//! Something wrong in a file, as `holdfast doctor` and `holdfast policy lint` show it: the place,
//! the cause, the fix.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_hcl::Position;
use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, SourceOffset};
use serde_json::{Value, json};

/// How many places of one finding are shown.
const SHOWN: usize = 5;

/// A file that was read.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Where it is, as it was named.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) text: Arc<str>,
}

/// Something wrong.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Where. Without a text only its name is shown.
    pub(crate) file: File,
    /// The place in it; none where the whole is meant.
    pub(crate) at: Option<Position>,
    /// Further places of the same.
    pub(crate) also: Vec<Position>,
    /// The kind in a word.
    pub(crate) rule: &'static str,
    /// What is wrong, without a full stop.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl Finding {
    /// As programs read it. A place that is not known is line 0.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "file": self.file.path,
            "line": self.at.map_or(0, |at| at.line),
            "column": self.at.map_or(0, |at| at.column),
            "also": self.also.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "code": self.rule,
            "message": self.message,
            "fix": self.fix,
        })
    }

    /// For people, with the lines that it is about.
    pub(crate) fn report(&self) -> Report {
        let diagnostic = MietteDiagnostic::new(self.message.clone());
        let diagnostic = diagnostic.with_code(self.rule).with_help(&self.fix);
        if self.at.is_none() {
            return Report::new(diagnostic);
        }
        let text = &*self.file.text;
        let places = self.at.into_iter().chain(self.also.iter().copied()).take(SHOWN);
        let labels = places.map(|at| {
            let start = SourceOffset::from_location(text, at.line as usize, at.column as usize);
            let start = start.offset();
            let rest = text.get(start..).unwrap_or_default();
            LabeledSpan::new(None, start, length(rest))
        });
        let source = NamedSource::new(self.file.path.display().to_string(), text.to_owned());
        Report::new(diagnostic.with_labels(labels)).with_source_code(source)
    }
}

/// How much of a text is underlined: a string, an action of a template, else up to a brace or a
/// comment; one line at most.
fn length(rest: &str) -> usize {
    let line = rest.lines().next().unwrap_or_default();
    if let Some(string) = line.strip_prefix('"') {
        return string.find('"').map_or(line.len(), |end| end + 2);
    }
    let action = line.find("}}").filter(|end| !line[..*end].contains("{{"));
    let end = action.or_else(|| line.find('{')).unwrap_or(line.len());
    let comment = line.find(" #").unwrap_or(end);
    line[..end.min(comment)].trim_end().len()
}
