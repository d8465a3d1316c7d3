//! `plan` and `apply`: what the platform directory says, against what the secrets server and the
//! databases hold.
//!
//! [`desired`] reads the directory, [`diff`] decides without I/O what has to change, [`engine`]
//! reads and writes the secrets server by its own API, so that ours and a real engine meet the
//! same code, and [`run`] ties them together. [`record`] remembers what was applied: that is how
//! drift is told from a change of the files, and how nothing of a stranger's is ever touched.
//! Database schemas are [`migrations`].

mod compare;
mod desired;
mod diff;
mod engine;
mod facts;
mod least;
mod migrations;
mod record;
mod report;
mod run;

pub(crate) use desired::{Desired, Object, POLICIES};
pub(crate) use engine::{Engine, EngineError, id as engine_id};
pub(crate) use facts::Facts;
pub(crate) use least::least_policy;
pub(crate) use migrations::Migrations;
pub(crate) use record::Record;
pub(crate) use report::{Change, ChangeKind, Report};
pub(crate) use run::{Applier, ApplyError, Hooks, NoHooks};

#[cfg(test)]
mod tests;
