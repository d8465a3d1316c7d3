//! Renders what changed, and publishes it at once.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_ctmpl::WriteFile;
use holdfast_types::{SecretBytes, SecretString};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::template::{Moment, Rendered};
use super::unit::{Target, Unit};
use super::{Delivery, Exit};
use crate::generation::{self, Change, Content, SourceRecord};
use crate::status::Problem;

/// How long a change waits for others that are under way, so that they appear together.
const SETTLE: Duration = Duration::from_millis(100);
/// The same for the first rendering, in which nothing is there to be read.
const FIRST: Duration = Duration::from_secs(5);
/// How long until a publication is tried again that failed, and the most.
const WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Delivery {
    /// How long a change waits at most for others that are under way.
    pub(super) fn cap(&self) -> Duration {
        if self.settled_once { SETTLE } else { FIRST }
    }

    /// Renders and publishes what changed, once all that is known is of one moment.
    pub(super) fn render(&mut self) -> Option<Exit> {
        let now = Instant::now();
        let over = self.changed.is_some_and(|at| now >= at + self.cap());
        let settled = self.client.is_none() || self.core.is_settled(self.moment());
        if !settled && !over {
            return None;
        }
        if self.changed.take().is_some() {
            for unit in &mut self.units {
                unit.look(&self.core, now);
            }
        }
        let due: Vec<usize> = (0..self.units.len())
            .filter(|index| self.units[*index].due().is_some_and(|at| at <= now))
            .collect();
        if due.is_empty() {
            return None;
        }
        let rendered = self.render_units(&due);
        let asks_more = self.want();
        let waits = rendered.iter().any(|(_, made)| matches!(made, Rendered::Pending(_)));
        if waits && asks_more && !over {
            // What they ask for now is on its way: all of it appears together.
            self.changed = Some(now);
            return None;
        }
        self.settled_once |= self.client.is_some();
        self.take(rendered, now)
    }

    fn render_units(&mut self, due: &[usize]) -> Vec<(usize, Rendered)> {
        let moment = Moment::new(&self.core, &*self.clock);
        let mut all = Vec::new();
        for index in due {
            let unit = &mut self.units[*index];
            let made = unit.loaded.render(&moment);
            let needs = match &made {
                Rendered::Complete(made) => &made.needs,
                Rendered::Pending(needs) | Rendered::Failed { needs, .. } => needs,
            };
            unit.saw(needs, &self.core);
            all.push((*index, made));
        }
        all
    }

    /// Wants of the server what the templates need. Gives whether that led to requests.
    fn want(&mut self) -> bool {
        let all: BTreeSet<_> = self.units.iter().flat_map(Unit::needs).cloned().collect();
        let now = self.moment();
        self.core.want(all, now);
        self.client.is_some() && !self.core.is_settled(now)
    }

    /// Publishes what was rendered, and tells whoever uses it.
    pub(super) fn take(&mut self, rendered: Vec<(usize, Rendered)>, now: Instant) -> Option<Exit> {
        let mut changes = Vec::new();
        let mut effects: Vec<WriteFile> = Vec::new();
        let mut variables_changed = false;
        let mut fatal: Option<Problem> = None;
        let mut whole = Vec::new();
        for (index, made) in rendered {
            let unit = &mut self.units[index];
            unit.settle();
            unit.pending = matches!(made, Rendered::Pending(_));
            match made {
                Rendered::Pending(_) => {}
                Rendered::Failed { problem, is_own, .. } => {
                    if unit.problem.as_ref() != Some(&problem) {
                        tell_failure(unit, &problem);
                    }
                    // What fails for a secret is tried again by the store.
                    if is_own && unit.loaded.is_fatal() {
                        fatal.get_or_insert_with(|| problem.clone());
                    }
                    unit.problem = Some(problem);
                }
                Rendered::Complete(made) => {
                    unit.problem = None;
                    unit.lacks_a_key = made.lacks_a_key;
                    unit.files = made.files;
                    let (sources, leases) = (made.sources, made.leases);
                    if !made.effects.is_empty() {
                        self.leases.beside(&leases);
                    }
                    effects.extend(made.effects);
                    match &unit.target {
                        Target::File(file) => {
                            whole.push(index);
                            let template = unit.loaded.name();
                            let content = Content::Rendered(made.bytes);
                            let index = *file;
                            changes.push(Change { index, content, template, sources, leases });
                        }
                        Target::Variable(name) => match text_of(&made.bytes) {
                            Ok(value) => {
                                unit.delivered();
                                variables_changed |= unit.value.as_ref() != Some(&value);
                                unit.value = Some(value);
                                unit.sources = sources;
                                unit.leases = leases;
                            }
                            Err(message) => {
                                error!(variable = name, message, "not rendered");
                                let (line, column, explain) = (None, None, None);
                                let message = message.to_owned();
                                unit.problem = Some(Problem { message, line, column, explain });
                            }
                        },
                    }
                }
            }
        }
        self.watch_files();
        if !changes.is_empty() {
            self.publish(changes, &whole, now);
        }
        super::effects::write(&effects);
        if variables_changed {
            self.revision += 1;
        }
        self.tell_consumers(now);
        self.note_leases();
        // What nothing needs any more but what stood before.
        self.want();
        self.retire();
        let ends = self.config.templating.exit_on_retry_failure || self.config.exit_after_auth;
        fatal.filter(|_| ends).map(|problem| Exit::Failed(problem.message))
    }

    fn publish(&mut self, changes: Vec<Change>, whole: &[usize], now: Instant) {
        let start = Instant::now();
        match self.publisher.publish(changes) {
            Ok(published) => {
                self.publish_problem = None;
                self.publish_failures = 0;
                for index in whole {
                    let unit = &mut self.units[*index];
                    let Target::File(file) = unit.target else { continue };
                    self.rejected.remove(&file);
                    match published.rejected.iter().any(|reject| reject.index == file) {
                        true => unit.rendered = true,
                        false => unit.delivered(),
                    }
                }
                for reject in &published.rejected {
                    let message = reject.problem.to_string();
                    let unit = self.unit_of(reject.index);
                    let wait = match reject.problem {
                        generation::Problem::Gone(_) => Duration::ZERO,
                        _ => LONGEST_WAIT,
                    };
                    self.units[unit].again(now, wait);
                    if self.rejected.insert(reject.index, message.clone()).as_ref()
                        != Some(&message)
                    {
                        error!(message, "not delivered");
                    }
                }
                if published.is_new {
                    let micros = start.elapsed().as_micros();
                    let (generation, changed) = (published.generation, published.changed.len());
                    info!(generation, changed, micros, "published");
                }
            }
            Err(failed) => {
                let wait = WAIT.saturating_mul(1 << self.publish_failures.min(8)).min(LONGEST_WAIT);
                self.publish_failures += 1;
                let message = crate::chain(&failed).to_string();
                error!(message, again.s = wait.as_secs(), "nothing was published");
                self.publish_problem = Some(message);
                for index in whole {
                    self.units[*index].again(now, wait);
                }
            }
        }
    }

    fn unit_of(&self, file: usize) -> usize {
        let target = Target::File(file);
        self.units.iter().position(|unit| unit.target == target).unwrap_or_default()
    }

    fn tell_consumers(&mut self, now: Instant) {
        let publisher = &self.publisher;
        self.consumers.tell(|file| publisher.file(file).map(|record| record.since), now);
        let is_ready = self.units.iter().all(|unit| match &unit.target {
            Target::File(file) => self.publisher.file(*file).is_some(),
            Target::Variable(_) => unit.value.is_some(),
        });
        if !is_ready {
            return;
        }
        let units = &self.units;
        // The first order has a number, too, where there is no variable.
        let revision = self.revision.max(1);
        self.revision = revision;
        self.consumers.run_with(revision, || {
            let pair = |unit: &Unit| match (&unit.target, &unit.value) {
                (Target::Variable(name), Some(value)) => Some((name.clone(), value.clone())),
                _ => None,
            };
            units.iter().filter_map(pair).collect::<Vec<(String, SecretString)>>()
        });
    }

    /// The secrets in all variables.
    pub(super) fn variable_sources(&self) -> Vec<SourceRecord> {
        self.units.iter().flat_map(|unit| unit.sources.clone()).collect()
    }
}

fn tell_failure(unit: &Unit, problem: &Problem) {
    let what = match &unit.target {
        Target::File(_) => unit.loaded.name(),
        Target::Variable(name) => format!("${name}"),
    };
    let (line, column) = (problem.line, problem.column);
    let explain = problem.explain.as_deref();
    warn!(template = what, line, column, explain, why = problem.message, "not rendered");
}

fn text_of(bytes: &SecretBytes) -> Result<SecretString, &'static str> {
    let bytes = bytes.expose();
    if bytes.contains(&0) {
        return Err("an environment variable cannot hold a NUL byte");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err("an environment variable has to be text in UTF-8"),
    }
}
