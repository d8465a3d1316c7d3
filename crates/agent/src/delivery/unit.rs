//! A template on its way to a file or a variable: what it needs, and whether that has changed.

use std::time::Duration;

use holdfast_ctmpl::Need;
use holdfast_types::SecretString;
use tokio::time::Instant;

use super::template::{Loaded, request_of};
use crate::config::WaitConfig;
use crate::generation::SourceRecord;
use crate::status::Problem;
use crate::store::{Core, Request};

/// Where a template's text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The file at this position of the publisher.
    File(usize),
    /// The environment variable of this name.
    Variable(String),
}

/// A template and what became of it.
pub(super) struct Unit {
    pub(super) target: Target,
    pub(super) loaded: Loaded,
    pub(super) wait: Option<WaitConfig>,
    /// What it asked for, each with the revision that it saw.
    needs: Vec<(Request, u64)>,
    /// What it asked for when it was last delivered. As long as that stands it is needed, whatever
    /// the template asks for since, or fails before.
    stands: Vec<Request>,
    /// The files that it read.
    pub(super) files: Vec<String>,
    /// When what it needs began to change, and when it last did. None: it is as it should be.
    dirty: Option<Dirty>,
    /// Rendered whole by this agent.
    pub(super) rendered: bool,
    /// Some need is on its way.
    pub(super) pending: bool,
    pub(super) problem: Option<Problem>,
    /// Of a variable: its value, the secrets in it, and the leases that it depends on.
    pub(super) value: Option<SecretString>,
    pub(super) sources: Vec<SourceRecord>,
    pub(super) leases: Vec<String>,
    /// What an operator should know of what it made.
    pub(super) lacks_a_key: bool,
}

#[derive(Debug, Clone, Copy)]
struct Dirty {
    first: Instant,
    last: Instant,
}

impl Unit {
    pub(super) fn new(
        target: Target,
        loaded: Loaded,
        wait: Option<WaitConfig>,
        now: Instant,
    ) -> Self {
        Self {
            target,
            loaded,
            wait,
            needs: Vec::new(),
            stands: Vec::new(),
            files: Vec::new(),
            dirty: Some(Dirty { first: now, last: now }),
            rendered: false,
            pending: true,
            problem: None,
            value: None,
            sources: Vec::new(),
            leases: Vec::new(),
            lacks_a_key: false,
        }
    }

    /// What it needs of the server: for the next rendering, and for what was delivered.
    pub(super) fn needs(&self) -> impl Iterator<Item = &Request> {
        self.needs.iter().map(|(request, _)| request).chain(&self.stands)
    }

    /// Looks whether something changed for it.
    pub(super) fn look(&mut self, core: &Core, now: Instant) {
        let mut changed = false;
        for (request, seen) in &mut self.needs {
            let revision = core.revision(request);
            changed |= *seen != revision;
            *seen = revision;
        }
        if changed {
            self.touch(now);
        }
    }

    /// Something changed for it.
    pub(super) fn touch(&mut self, now: Instant) {
        match &mut self.dirty {
            // What was to be tried again later is tried with what is new.
            Some(dirty) => *dirty = Dirty { first: dirty.first.min(now), last: now },
            None => self.dirty = Some(Dirty { first: now, last: now }),
        }
    }

    /// When it is to be rendered: once nothing changed for its `min`, or after its `max`.
    pub(super) fn due(&self) -> Option<Instant> {
        let dirty = self.dirty?;
        match self.wait {
            Some(wait) if self.rendered => {
                Some((dirty.last + wait.min).min(dirty.first + wait.max))
            }
            _ => Some(dirty.first),
        }
    }

    /// It was rendered with what it asked for.
    pub(super) fn saw(&mut self, needs: &[Need], core: &Core) {
        let seen = |need: &Need| {
            let request = request_of(need);
            let revision = core.revision(&request);
            (request, revision)
        };
        self.needs = needs.iter().map(seen).collect();
    }

    /// What it was rendered with is delivered.
    pub(super) fn delivered(&mut self) {
        self.rendered = true;
        self.stands = self.needs.iter().map(|(request, _)| request.clone()).collect();
    }

    /// It is as it should be, or cannot be before something changes.
    pub(super) fn settle(&mut self) {
        self.dirty = None;
    }

    /// It is tried again, after `wait`.
    pub(super) fn again(&mut self, now: Instant, wait: Duration) {
        self.dirty = Some(Dirty { first: now + wait, last: now + wait });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{TemplateSource, TemplateText};

    #[test]
    fn what_is_new_is_not_kept_waiting_by_what_failed() {
        let text = TemplateText {
            source: TemplateSource::Contents(String::new()),
            left_delimiter: String::new(),
            right_delimiter: String::new(),
            error_on_missing_key: true,
            error_fatal: true,
            function_denylist: Vec::new(),
        };
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let loaded = Loaded::new(Arc::new(text), None);
        let mut unit = Unit::new(Target::File(0), loaded, None, start);
        unit.again(start, 30 * second);
        assert_eq!(unit.due(), Some(start + 30 * second));
        unit.touch(start + second);
        assert_eq!(unit.due(), Some(start + second));
        // Another change puts nothing off.
        unit.touch(start + 2 * second);
        assert_eq!(unit.due(), Some(start + second));
    }
}
