//! What a rotation does next: phases and what leads from one to the next. No I/O.
//!
//! Forward it is prepare, alter, write, deliver, acknowledge, verify, retire. A failure turns it
//! back: reinstate, restore, inform, invalidate, as far as the way forward had come. Each phase is
//! written down before it acts, and acts so that it can be repeated.

use serde::{Deserialize, Serialize};

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Makes the new credential and puts it beside the secret.
    Prepare,
    /// Makes the new credential valid where it is used.
    Alter,
    /// Writes it as the secret's newest version.
    Write,
    /// Waits until every agent's files hold it.
    Deliver,
    /// Waits until every consumer says that it has taken it up.
    Acknowledge,
    /// Sees that it works, and that nobody comes with the old one any more.
    Verify,
    /// Ends the old one.
    Retire,
    /// On the way back: makes the old credential valid again.
    Reinstate,
    /// On the way back: writes the old value as the newest version.
    Restore,
    /// On the way back: waits until nobody uses the new one any more.
    Inform,
    /// On the way back: ends the new one.
    Invalidate,
    /// The new credential is the only one.
    Done,
    /// The old credential is the only one.
    RolledBack,
}

/// What is rotated, as far as it decides about the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A login role of PostgreSQL that takes turns with another.
    DualRole,
    /// A login role of PostgreSQL alone: its old password ends with the new one's beginning.
    SingleRole,
    /// A static role of a database engine, which changes the password itself.
    EngineRole,
    /// A value that the secrets server alone knows.
    Value,
}

/// What became of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is done.
    Completed,
    /// It cannot be done.
    Failed,
    /// An operator wants the old credential back.
    GoBack,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Begin this phase.
    Enter(Phase),
    /// Stay, and leave it to an operator.
    Hold,
}

/// The phases forward. A kind leaves some out.
const FORWARD: [Phase; 7] = [
    Phase::Prepare,
    Phase::Alter,
    Phase::Write,
    Phase::Deliver,
    Phase::Acknowledge,
    Phase::Verify,
    Phase::Retire,
];
/// The phases back.
const BACK: [Phase; 4] = [Phase::Reinstate, Phase::Restore, Phase::Inform, Phase::Invalidate];

impl Phase {
    /// Its name, as records and people have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Alter => "alter",
            Self::Write => "write",
            Self::Deliver => "deliver",
            Self::Acknowledge => "acknowledge",
            Self::Verify => "verify",
            Self::Retire => "retire",
            Self::Reinstate => "reinstate",
            Self::Restore => "restore",
            Self::Inform => "inform",
            Self::Invalidate => "invalidate",
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Whether there is nothing more to do.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack)
    }

    /// Whether it leads to the new credential.
    pub(crate) fn is_forward(self) -> bool {
        FORWARD.contains(&self)
    }
}

impl Kind {
    fn has(self, phase: Phase) -> bool {
        match self {
            Self::DualRole | Self::SingleRole => true,
            Self::EngineRole => !matches!(phase, Phase::Write | Phase::Retire),
            Self::Value => !matches!(phase, Phase::Alter | Phase::Reinstate),
        }
    }

    /// Whether a rotation that came as far as `reached` can be undone. An engine keeps no password
    /// but its last.
    pub(crate) fn can_go_back(self, reached: Phase) -> bool {
        self != Self::EngineRole || reached < Phase::Alter
    }

    /// Whether the way back from `reached` has this phase.
    fn undoes(self, reached: Phase, phase: Phase) -> bool {
        let needed = match phase {
            Phase::Reinstate => reached >= Phase::Alter,
            Phase::Restore | Phase::Inform => reached >= Phase::Write,
            _ => true,
        };
        needed && self.has(phase)
    }

    /// What follows on `event` in `phase`. `reached` is the last phase of the way forward; for a
    /// phase of the way forward it is that phase.
    pub(crate) fn next(self, phase: Phase, reached: Phase, event: Event) -> Next {
        if phase.is_final() {
            return Next::Hold;
        }
        let back = |after: usize| {
            let rest = BACK.iter().skip(after).find(|next| self.undoes(reached, **next));
            Next::Enter(rest.copied().unwrap_or(Phase::RolledBack))
        };
        match (FORWARD.iter().position(|one| *one == phase), event) {
            (Some(at), Event::Completed) => {
                let rest = FORWARD[at + 1..].iter().find(|next| self.has(**next));
                Next::Enter(rest.copied().unwrap_or(Phase::Done))
            }
            (Some(_), Event::Failed | Event::GoBack) if self.can_go_back(phase) => back(0),
            (Some(_), _) | (None, Event::Failed) => Next::Hold,
            (None, Event::GoBack) => Next::Enter(phase),
            (None, Event::Completed) => {
                back(BACK.iter().position(|one| *one == phase).map_or(0, |at| at + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests;
