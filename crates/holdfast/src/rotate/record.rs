//! What is known of a rotation: kept in the secrets server, so that operators on two machines meet.
//! Names and versions, never a value.

use std::path::PathBuf;

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::lifecycle::Phase;
use super::owner::Owner;
use super::plan::Plan;

/// How many steps of one rotation are kept.
const STEPS: usize = 64;
/// How many rotations of one secret are kept.
const HISTORY: usize = 20;

/// One rotation, and a little of those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names the rotation.
    pub(crate) id: String,
    /// The secret, as operators name it: `kv/app/db`.
    pub(crate) path: String,
    /// How it is rotated.
    pub(crate) plan: Plan,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// The last phase of the way forward.
    pub(crate) reached: Phase,
    /// When it began.
    pub(crate) started: Timestamp,
    /// Since when it is in its phase.
    pub(crate) since: Timestamp,
    /// Who works on it; none when nobody does.
    pub(crate) owner: Option<Owner>,
    /// When the owner was last heard of.
    pub(crate) heartbeat: Timestamp,
    /// Counts what was written: by it a write whose answer was lost is known again.
    pub(crate) beat: u64,
    /// Why it was turned back, or stands still.
    pub(crate) problem: Option<String>,
    /// Whether nobody goes on before an operator says so.
    pub(crate) held: bool,
    /// What is to end.
    pub(crate) old: Credential,
    /// What takes its place.
    pub(crate) new: Credential,
    /// The version that the way back wrote.
    pub(crate) restored: Option<u64>,
    /// PostgreSQL's clock when all consumers had acknowledged. Who logs in with the old credential
    /// later is a consumer that nobody knows.
    pub(crate) acknowledged: Option<String>,
    /// When the engine had last rotated a static role before this, in its words.
    pub(crate) engine_rotated: Option<String>,
    /// When the engine rotated it for this, by its own clock.
    pub(crate) altered: Option<Timestamp>,
    /// The agents that deliver the secret.
    pub(crate) agents: Vec<Watched>,
    /// Who is not on the new credential, or on the way back not off it.
    pub(crate) stragglers: Vec<Straggler>,
    /// What was done, oldest first.
    pub(crate) steps: Vec<Step>,
    /// Rotations before this one, oldest first.
    pub(crate) history: Vec<Finished>,
}

/// A credential, by its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// The user that it is of.
    pub(crate) username: Option<String>,
    /// The secret's version that holds it.
    pub(crate) version: Option<u64>,
    /// What it is good for.
    pub(crate) validity: Validity,
}

/// What a credential is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Validity {
    /// It was not made yet, or nobody asked.
    #[default]
    Unknown,
    /// It opens what it is for.
    Valid,
    /// It opens nothing.
    Ended,
}

/// An agent that delivers the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// Its name.
    pub(crate) name: String,
    /// Where it is asked.
    pub(crate) socket: PathBuf,
}

/// Somebody who is not where they should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Straggler {
    /// The agent.
    pub(crate) agent: String,
    /// The file, or the consumer.
    pub(crate) name: String,
    /// Its process, where that is known.
    pub(crate) pid: Option<i32>,
    /// The secret's version that it has, where that is known.
    pub(crate) version: Option<u64>,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
    /// Why.
    pub(crate) problem: Option<String>,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// When.
    pub(crate) at: Timestamp,
    /// In which phase.
    pub(crate) phase: Phase,
    /// What.
    pub(crate) note: String,
}

/// A rotation that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) id: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) outcome: Phase,
    pub(crate) problem: Option<String>,
}

impl Record {
    /// A rotation that begins, after `before`.
    pub(crate) fn new(
        id: String,
        path: String,
        plan: Plan,
        owner: Owner,
        before: Option<Self>,
        now: Timestamp,
    ) -> Self {
        let (mut history, beat) = before.map_or((Vec::new(), 0), |before| {
            let finished = Finished {
                id: before.id,
                started: before.started,
                ended: before.since,
                outcome: before.phase,
                problem: before.problem,
            };
            let mut history = before.history;
            history.push(finished);
            (history, before.beat)
        });
        let surplus = history.len().saturating_sub(HISTORY);
        history.drain(..surplus);
        Self {
            id,
            path,
            plan,
            phase: Phase::Prepare,
            reached: Phase::Prepare,
            started: now,
            since: now,
            owner: Some(owner),
            heartbeat: now,
            beat,
            problem: None,
            held: false,
            old: Credential::default(),
            new: Credential::default(),
            restored: None,
            acknowledged: None,
            engine_rotated: None,
            altered: None,
            agents: Vec::new(),
            stragglers: Vec::new(),
            steps: Vec::new(),
            history,
        }
    }

    /// Whether it came to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.is_final()
    }

    /// Begins a phase.
    pub(crate) fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        if phase.is_forward() {
            self.reached = phase;
        }
        self.since = now;
        self.stragglers.clear();
    }

    /// Notes what was done.
    pub(crate) fn note(&mut self, note: impl Into<String>, now: Timestamp) {
        self.steps.push(Step { at: now, phase: self.phase, note: note.into() });
        let surplus = self.steps.len().saturating_sub(STEPS);
        self.steps.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
