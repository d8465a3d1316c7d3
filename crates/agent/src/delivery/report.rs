//! What the agent tells about itself, put together when somebody asks.

use std::collections::BTreeSet;

use super::consumers::PROCESS;
use super::unit::Target;
use super::{Delivery, Server};
use crate::generation::{Placement, SourceRecord, is_memory};
use crate::status::{
    ConsumerStatus, FileState, FileStatus, GenerationStatus, Problem, ServerStatus, Status,
    VariableStatus,
};

impl Delivery {
    /// How things are.
    pub(super) fn status(&self) -> Status {
        let current = self.publisher.number();
        let kept: BTreeSet<u64> = self.publisher.old().into_iter().collect();
        Status {
            name: self.state.name.clone(),
            pid: std::process::id(),
            started: self.started,
            server: self.server_status(),
            generation: self.publisher.published().map(|published| GenerationStatus {
                number: current,
                published,
                current: self.publisher.place().current(),
                kept: kept.into_iter().collect(),
            }),
            files: self.files(),
            variables: self.variables(),
            consumers: self.consumer_status(),
            notices: self.notices(),
        }
    }

    fn server_status(&self) -> ServerStatus {
        let login = self.session.current();
        let Server { cluster, reachable, answered, problem, told, polling_because } =
            self.server.clone();
        ServerStatus {
            address: self.config.server.address.to_string(),
            cluster,
            reachable,
            answered,
            problem,
            logged_in: login.is_some(),
            accessor: login.as_ref().map(|login| login.accessor.clone()),
            token_expires: login.and_then(|login| login.expires),
            told_of_changes: told,
            polling_because,
        }
    }

    fn files(&self) -> Vec<FileStatus> {
        let units = self.units.iter().filter_map(|unit| match unit.target {
            Target::File(index) => Some((index, unit)),
            Target::Variable(_) => None,
        });
        units
            .map(|(index, unit)| {
                let record = self.publisher.file(index);
                let problem = self.rejected.get(&index).map(|message| Problem {
                    message: message.clone(),
                    line: None,
                    column: None,
                    explain: None,
                });
                let problem = problem.or_else(|| unit.problem.clone()).or_else(|| self.stale(unit));
                let state = match (record, unit.rendered, &problem) {
                    (None, ..) => FileState::Waiting,
                    (Some(_), true, None) => FileState::Current,
                    (Some(_), true, Some(_)) => FileState::Old,
                    (Some(_), false, _) => FileState::Resumed,
                };
                FileStatus {
                    destination: self.publisher.destination(index).path.clone(),
                    template: unit.loaded.name(),
                    state,
                    generation: record.map(|record| record.since),
                    changed: record.map(|record| record.changed),
                    sources: record.map(|record| record.sources.clone()).unwrap_or_default(),
                    copied: self.publisher.placement(index) == Some(Placement::Copy),
                    problem,
                }
            })
            .collect()
    }

    /// A secret that was had once and cannot be had now: the file holds what it was.
    fn stale(&self, unit: &super::unit::Unit) -> Option<Problem> {
        let (failure, tries) = unit.needs().find_map(|need| self.core.failure(need))?;
        Some(Problem {
            message: format!("{} ({tries} tries)", failure.message),
            line: None,
            column: None,
            explain: failure.explain,
        })
    }

    fn variables(&self) -> Vec<VariableStatus> {
        let units = self.units.iter().filter_map(|unit| match &unit.target {
            Target::Variable(name) => Some((name, unit)),
            Target::File(_) => None,
        });
        units
            .map(|(name, unit)| VariableStatus {
                name: name.clone(),
                sources: unit.sources.clone(),
                problem: unit.problem.clone().or_else(|| self.stale(unit)),
            })
            .collect()
    }

    fn consumer_status(&self) -> Vec<ConsumerStatus> {
        let ledger = self.consumers.ledger.all();
        ledger
            .map(|(name, consumer)| {
                let kind = self.consumers.kinds().find(|(known, _)| *known == name);
                let files = kind.map(|(_, kind)| kind.files.clone()).unwrap_or_default();
                let path = |index: &usize| self.publisher.destination(*index).path.clone();
                let paths: Vec<_> = files.iter().map(path).collect();
                let mut holds = self.holds(&paths, consumer.generation);
                let (mut pid, mut since, mut stale) = (None, consumer.since, consumer.is_stale());
                let mut problem = consumer.problem.clone();
                let mut told_by = kind.map(|(_, kind)| kind.told_by()).unwrap_or_default();
                if name == PROCESS
                    && let Some(process) = self.consumers.process()
                {
                    pid = process.pid;
                    since = since.max(process.since);
                    holds.extend(self.process_holds.iter().cloned());
                    if pid.is_some() && process.revision < self.revision {
                        stale = true;
                        // One that is being started anew is only late.
                        if !process.restarts {
                            let older = || "it runs with older variables".to_owned();
                            problem.get_or_insert_with(older);
                        }
                    }
                    // Being asked is no problem yet.
                    stale |= pid.is_some() && process.acknowledged < process.revision;
                    let command = self.config.exec.as_ref().map(|exec| exec.command.join(" "));
                    told_by = command.unwrap_or(told_by);
                }
                holds.sort();
                holds.dedup();
                ConsumerStatus {
                    name: name.to_owned(),
                    told_by,
                    files: paths,
                    pid,
                    generation: consumer.generation,
                    wanted: consumer.wanted,
                    stale,
                    since,
                    holds,
                    problem,
                }
            })
            .collect()
    }

    /// The secrets in the files of a generation.
    fn holds(&self, files: &[std::path::PathBuf], generation: u64) -> Vec<SourceRecord> {
        let Some(manifest) = self.publisher.manifest_of(generation) else { return Vec::new() };
        let files = manifest.files.iter().filter(|file| files.contains(&file.destination));
        files.flat_map(|file| file.sources.clone()).collect()
    }

    fn notices(&self) -> Vec<String> {
        let mut notices = self.config.warnings.clone();
        let root = &self.publisher.place().root;
        let has_files = self.units.iter().any(|unit| matches!(unit.target, Target::File(_)));
        if has_files && is_memory(root).is_ok_and(|memory| !memory) {
            notices.push(format!(
                "{} is on a disk, not on a tmpfs: secrets outlive the machine there",
                root.display()
            ));
        }
        if self.config.exec.is_some() && !self.config.env_templates.is_empty() {
            notices.push(
                "secrets are in the environment of the process: whoever may read \
                 /proc/<pid>/environ has them, and so has everything it starts"
                    .to_owned(),
            );
        }
        for unit in &self.units {
            if let Target::File(index) = unit.target {
                let path = self.publisher.destination(index).path.display();
                if self.publisher.has_default_mode(index) {
                    notices.push(format!(
                        "{path} has mode 0600, because perms is not set (the stock agent takes 0644)"
                    ));
                }
                if unit.lacks_a_key {
                    notices.push(format!(
                        "{path} holds <no value>: a secret lacks a key; set error_on_missing_key"
                    ));
                }
            }
        }
        if let Some(problem) = &self.publish_problem {
            notices.push(format!("nothing can be written: {problem}"));
        }
        notices
    }
}
