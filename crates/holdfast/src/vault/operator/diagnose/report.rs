//! What was checked, as a tree: for people in lines, for programs as the official client's JSON.

use holdfast_types::{Clock as _, SystemClock};
use serde::Serialize;

/// How a check ended; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Skipped,
    Ok,
    Warn,
    Fail,
}

/// One check, or a group of them.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    time: String,
    name: String,
    status: Status,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(rename = "Advice")]
    advice: String,
    /// What the check went by; printed with -debug alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Check>,
}

impl Check {
    /// A check with nothing found so far.
    pub(super) fn new(name: &str) -> Self {
        Self {
            time: SystemClock.now().to_string(),
            name: name.to_owned(),
            status: Status::Ok,
            warnings: Vec::new(),
            message: None,
            advice: String::new(),
            details: Vec::new(),
            children: Vec::new(),
        }
    }

    /// It is well, and this is what was seen.
    pub(super) fn say(mut self, text: impl Into<String>) -> Self {
        self.message = Some(text.into());
        self
    }

    /// It was left out, for this reason.
    pub(super) fn skip(mut self, why: &str) -> Self {
        self.status = Status::Skipped;
        self.say(why)
    }

    /// Something that does not keep a server from running.
    pub(super) fn warn(mut self, text: impl Into<String>) -> Self {
        self.status = self.status.max(Status::Warn);
        self.warnings.push(text.into());
        self
    }

    /// Something that does; the first one is what the check says.
    pub(super) fn fail(mut self, text: impl Into<String>) -> Self {
        self.status = Status::Fail;
        self.message.get_or_insert(text.into());
        self
    }

    /// What to do.
    pub(super) fn advise(mut self, text: &str) -> Self {
        text.clone_into(&mut self.advice);
        self
    }

    /// What the check went by.
    pub(super) fn detail(mut self, text: impl Into<String>) -> Self {
        self.details.push(text.into());
        self
    }

    /// A part of this check. The whole is as well as its worst part.
    pub(super) fn with(mut self, child: Check) -> Self {
        self.status = self.status.max(child.status);
        self.children.push(child);
        self
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Leaves out what only -debug shows.
    pub(super) fn brief(&mut self) {
        self.details.clear();
        self.children.iter_mut().for_each(Self::brief);
    }

    /// As lines, each with its newline.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        let mut line = |word: &str, said: Option<&str>| {
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            text.push_str(&format!("{indent}[ {word} ] {}{said}\n", self.name));
        };
        let word = match self.status {
            Status::Ok => "success",
            Status::Warn => "warning",
            Status::Fail => "failure",
            Status::Skipped => "skipped",
        };
        if self.warnings.is_empty() || self.message.is_some() {
            line(word, self.message.as_deref());
        }
        self.warnings.iter().for_each(|warning| line("warning", Some(warning)));
        let advice = Some(self.advice.as_str()).filter(|advice| !advice.is_empty());
        for below in advice.into_iter().chain(self.details.iter().map(String::as_str)) {
            text.push_str(&format!("{indent}  {below}\n"));
        }
        self.children.iter().for_each(|child| child.write(text, depth + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_well_as_its_worst_part() {
        let parts: [fn(Check) -> Check; 4] =
            [|c| c.skip("off"), |c| c, |c| c.warn("w"), |c| c.fail("f").warn("w")];
        for (index, (part, want)) in
            parts.into_iter().zip([Status::Ok, Status::Ok, Status::Warn, Status::Fail]).enumerate()
        {
            let group = Check::new("group").with(part(Check::new("part")));
            assert_eq!(group.status(), want, "{index}");
        }
    }

    #[test]
    fn people_get_lines() {
        let child = Check::new("Disk").warn("nearly full").warn("slow").advise("Make room.");
        let mut whole =
            Check::new("All").with(child.detail("90 %")).with(Check::new("B").fail("x"));
        let lines = "[ failure ] All\n  [ warning ] Disk: nearly full\n  [ warning ] Disk: slow\n    \
                     Make room.\n    90 %\n  [ failure ] B: x\n";
        assert_eq!(whole.lines(), lines);
        whole.brief();
        assert_eq!(whole.lines(), lines.replace("    90 %\n", ""));
    }
}
