//! One pass: read, decide, write, remember.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::desired::Object;
use super::diff::{Actual, Ownership, actual_digest, desired_digest, diff};
use super::record::Applied;
use super::report::ChangeKind;
use super::{Change, Desired, Engine, EngineError, Record, Report, engine};

/// What the platform adds to an object at the moment of its creation.
#[async_trait]
pub(crate) trait Hooks: Send + Sync {
    /// Fields that no file may hold and nothing records, such as the first password of a database's
    /// administrator. Asked for when the object is made, not when it is changed.
    async fn secret_fields(&self, path: &str) -> anyhow::Result<Map<String, Value>>;

    /// Whether there is more to making `path` than writing it: then one that is found but not
    /// recorded is made anew, for it may have been left half done.
    fn completes(&self, path: &str) -> bool;

    /// Called after the object was made and before that is recorded, so that a crash in between
    /// makes it anew: where the administrator's password is rotated away.
    async fn made(&self, path: &str, engine: &dyn Engine) -> anyhow::Result<()>;
}

/// Nothing to add.
pub(crate) struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn secret_fields(&self, _path: &str) -> anyhow::Result<Map<String, Value>> {
        Ok(Map::new())
    }

    fn completes(&self, _path: &str) -> bool {
        false
    }

    async fn made(&self, _path: &str, _engine: &dyn Engine) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Why an apply stopped. What was made before it is recorded; the next apply goes on from there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The secrets server.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There are objects that are not ours. Nothing was changed.
    #[error(
        "{} there already, made by somebody else and different: {}. Rename the file, or take over \
         with --adopt",
        if paths.len() == 1 { "one object is" } else { "some objects are" },
        paths.join(", ")
    )]
    Conflict {
        /// Their API paths.
        paths: Vec<String>,
    },
    /// A file is gone whose mount still holds data. Nothing was changed.
    #[error(
        "no file names {} any more, and removing {} deletes everything stored there. Put the file \
         back, or confirm with --delete-data",
        paths.join(", "),
        if paths.len() == 1 { "it" } else { "them" }
    )]
    DeletesData {
        /// The mounts' API paths.
        paths: Vec<String>,
    },
    /// The record, or what the platform adds.
    #[error("{context}")]
    Platform {
        /// What was being done.
        context: String,
        /// Why it failed.
        #[source]
        source: anyhow::Error,
    },
}

/// Applies one platform directory to one engine.
pub(crate) struct Applier<'a> {
    /// The secrets server.
    pub(crate) engine: &'a dyn Engine,
    /// Where the record lies.
    pub(crate) record: &'a Path,
    /// What the platform adds.
    pub(crate) hooks: &'a dyn Hooks,
    /// Whether others use the engine too.
    pub(crate) shared: bool,
    /// Take over objects of others that are in the way.
    pub(crate) adopt: bool,
    /// Remove mounts that no file names any more, with what is stored there.
    pub(crate) delete_data: bool,
}

impl Applier<'_> {
    /// What would change.
    pub(crate) async fn plan(&self, desired: &Desired) -> Result<Report, ApplyError> {
        let (report, _, _) = self.look(desired).await?;
        Ok(report)
    }

    /// Changes it. `progress` is told of each change before it is made.
    pub(crate) async fn apply(
        &self,
        desired: &Desired,
        progress: &(dyn Fn(&Change) + Send + Sync),
    ) -> Result<Report, ApplyError> {
        let (mut report, mut record, actual) = self.look(desired).await?;
        self.refuse(&report)?;
        for change in &report.changes {
            progress(change);
            let object = desired.0.iter().find(|object| object.path == change.path);
            match object {
                None => {
                    engine::remove(self.engine, &change.path).await?;
                    record.objects.remove(&change.path);
                }
                Some(object) => {
                    let actual = actual.get(&object.path).unwrap_or(&Actual::Absent);
                    let applied = self.make(object, actual, change.kind, &record).await?;
                    record.objects.insert(object.path.clone(), applied);
                }
            }
            record
                .save(self.record)
                .map_err(|source| platform("remember what was applied", source))?;
        }
        report.applied = true;
        Ok(report)
    }

    /// Brings one object up to date, which was applied before and that somebody else than the platform
    /// directory decides about.
    pub(crate) async fn refresh(&self, object: &Object) -> Result<(), ApplyError> {
        let desired = Desired(vec![object.clone()]);
        let (report, mut record, actual) = self.look(&desired).await?;
        let Some(change) = report.changes.iter().find(|change| change.path == object.path) else {
            return Ok(());
        };
        if change.kind == ChangeKind::Conflict {
            return Err(ApplyError::Conflict { paths: vec![object.path.clone()] });
        }
        let actual = actual.get(&object.path).unwrap_or(&Actual::Absent);
        let applied = self.make(object, actual, change.kind, &record).await?;
        record.objects.insert(object.path.clone(), applied);
        record.save(self.record).map_err(|source| platform("remember what was applied", source))
    }

    async fn look(
        &self,
        desired: &Desired,
    ) -> Result<(Report, Record, BTreeMap<String, Actual>), ApplyError> {
        let id = engine::id(self.engine).await?;
        let record = Record::load(self.record, &id)
            .map_err(|source| platform("read the record of what was applied", source))?;
        let mut actual = BTreeMap::new();
        for object in &desired.0 {
            // Below a mount that is not there, nothing is; a real engine would answer 404 or 403.
            let mountless = mount_of(&object.path, desired)
                .is_some_and(|mount| actual.get(mount) == Some(&Actual::Absent));
            let found = if mountless {
                Actual::Absent
            } else {
                engine::read(self.engine, &object.path).await?
            };
            actual.insert(object.path.clone(), found);
        }
        let ownership =
            if self.shared && !self.adopt { Ownership::Shared } else { Ownership::Whole };
        let (changes, unchanged) = diff(desired, &actual, &record, ownership);
        Ok((Report { changes, unchanged, applied: false }, record, actual))
    }

    fn refuse(&self, report: &Report) -> Result<(), ApplyError> {
        let paths = |wanted: &dyn Fn(&Change) -> bool| -> Vec<String> {
            let changes = report.changes.iter().filter(|change| wanted(change));
            changes.map(|change| change.path.clone()).collect()
        };
        let conflicts = paths(&|change| change.kind == ChangeKind::Conflict);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflict { paths: conflicts });
        }
        let data = paths(&|change| {
            change.kind == ChangeKind::Remove && change.path.starts_with("sys/mounts/")
        });
        if !data.is_empty() && !self.delete_data {
            return Err(ApplyError::DeletesData { paths: data });
        }
        Ok(())
    }

    async fn make(
        &self,
        object: &Object,
        actual: &Actual,
        kind: ChangeKind,
        record: &Record,
    ) -> Result<Applied, ApplyError> {
        let new = !record.objects.contains_key(&object.path) || *actual == Actual::Absent;
        let failed = |source| platform(&format!("make {}", object.path), source);
        if kind != ChangeKind::Adopt || self.hooks.completes(&object.path) {
            let secret_fields = if new {
                self.hooks.secret_fields(&object.path).await.map_err(failed)?
            } else {
                Map::new()
            };
            engine::write(self.engine, object, actual, secret_fields).await?;
            if new {
                self.hooks.made(&object.path, self.engine).await.map_err(failed)?;
            }
        }
        let now = engine::read(self.engine, &object.path).await?;
        let answered = match &now {
            Actual::Fields(fields) => actual_digest(object, fields),
            Actual::Absent | Actual::Unreadable => String::new(),
        };
        Ok(Applied { desired: desired_digest(&object.fields), actual: answered })
    }
}

/// The object of `desired` that mounts what `path` lies under.
fn mount_of<'a>(path: &str, desired: &'a Desired) -> Option<&'a str> {
    let mounts = desired.0.iter().map(|object| object.path.as_str()).filter(|mount| {
        let at = match mount.split_once("sys/mounts/") {
            Some((_, name)) => name.to_owned(),
            None => match mount.split_once("sys/auth/") {
                Some((_, name)) => format!("auth/{name}"),
                None => return false,
            },
        };
        path.strip_prefix(&at).is_some_and(|rest| rest.starts_with('/'))
    });
    mounts.max_by_key(|mount| mount.len())
}

fn platform(context: &str, source: anyhow::Error) -> ApplyError {
    ApplyError::Platform { context: context.to_owned(), source }
}
