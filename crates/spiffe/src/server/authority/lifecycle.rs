//! When an authority's keys are made, used and dropped.
//!
//! Pure: time is an argument, and whoever does what a [`Step`] says tells it back. A key goes
//! through three states: it is prepared (made, stored and published), then active (it signs), then
//! retired (it only verifies, until its end).

use std::time::Duration;

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

/// More keys than this are never kept: only a clock that jumps about brings so many.
pub(crate) const MAX_KEYS: usize = 8;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Published, and has not signed yet.
    Prepared,
    /// Signs.
    Active,
    /// Signs no more; what it signed is still valid.
    Retired,
}

/// A key's times and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Its name, such as the key's id.
    pub(crate) id: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) state: State,
    /// Not all who verify have it yet: it signs only where no other key can.
    #[serde(default)]
    pub(crate) is_awaited: bool,
    /// What it signed is to be replaced.
    #[serde(default)]
    pub(crate) is_tainted: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a key, store and publish it; then [`Lifecycle::prepared`].
    Prepare,
    /// The key of this id signs from now on: [`Lifecycle::activate`].
    Activate(String),
    /// The key of this id is past its end: [`Lifecycle::forget`].
    Forget(String),
}

/// The keys of one authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Lifecycle {
    slots: Vec<Slot>,
}

impl Slot {
    /// Whether the moment is within its validity.
    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// The moment at which `part` of 6 of its life is over.
    fn after(&self, part: i64) -> Timestamp {
        let life = self.not_after.as_second().saturating_sub(self.not_before.as_second());
        let at = self.not_before.as_second().saturating_add(life / 6 * part);
        Timestamp::from_second(at).unwrap_or(self.not_after)
    }
}

impl Lifecycle {
    /// The keys, the oldest first.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The key that signs. None: there is no active one, or it is not valid at this moment.
    pub(crate) fn active(&self, now: Timestamp) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.state == State::Active && slot.is_usable(now))
    }

    /// What is to be done now; none where there is nothing.
    ///
    /// The next key is prepared after half of the active one's life, and signs after five sixths of
    /// it; one that is awaited signs when the active one has ended. Where no key can sign, both happen
    /// at once, one after the other.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Step> {
        let active = self.active(now);
        let prepared = self
            .slots
            .iter()
            .rev()
            .find(|slot| slot.state == State::Prepared && slot.is_usable(now));
        match (active, prepared) {
            (None, None) => return Some(Step::Prepare),
            (None, Some(next)) => return Some(Step::Activate(next.id.clone())),
            (Some(active), None) if now >= active.after(3) => return Some(Step::Prepare),
            (Some(active), Some(next)) if now >= active.after(5) && !next.is_awaited => {
                return Some(Step::Activate(next.id.clone()));
            }
            _ => {}
        }
        let ended = self.slots.iter().find(|slot| slot.not_after <= now);
        let surplus = || {
            let is_idle = |slot: &&Slot| slot.state != State::Active;
            self.slots.iter().find(is_idle).filter(|_| self.slots.len() > MAX_KEYS)
        };
        ended.or_else(surplus).map(|slot| Step::Forget(slot.id.clone()))
    }

    /// How long nothing is due, if the clock goes on as clocks do.
    pub(crate) fn rest(&self, now: Timestamp) -> Duration {
        let Some(active) = self.active(now) else { return Duration::ZERO };
        let moments = self.slots.iter().map(|slot| slot.not_after);
        let moments = moments.chain([active.after(3), active.after(5)]);
        let next = moments.filter(|moment| *moment > now).min().unwrap_or(active.not_after);
        Duration::try_from(next.duration_since(now)).unwrap_or_default()
    }

    /// A key was made, stored and published.
    pub(crate) fn prepared(&mut self, id: String, not_before: Timestamp, not_after: Timestamp) {
        let (state, is_awaited, is_tainted) = (State::Prepared, false, false);
        self.slots.push(Slot { id, not_before, not_after, state, is_awaited, is_tainted });
    }

    /// The key of this id is to be acknowledged before it signs.
    pub(crate) fn wait_for(&mut self, id: &str) {
        self.slots.iter_mut().filter(|slot| slot.id == id).for_each(|slot| slot.is_awaited = true);
    }

    /// All who verify have the key of this id; says whether that is new.
    pub(crate) fn acknowledge(&mut self, id: &str) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.id == id && slot.is_awaited);
        slot.map(|slot| slot.is_awaited = false).is_some()
    }

    /// The key signs from now on, and the one before it no more.
    pub(crate) fn activate(&mut self, id: &str) {
        for slot in &mut self.slots {
            if slot.id == id {
                slot.state = State::Active;
            } else if slot.state == State::Active {
                slot.state = State::Retired;
            }
        }
    }

    /// What the key signed is to be replaced.
    pub(crate) fn taint(&mut self, id: &str) {
        self.slots.iter_mut().filter(|slot| slot.id == id).for_each(|slot| slot.is_tainted = true);
    }

    /// The key is gone.
    pub(crate) fn forget(&mut self, id: &str) {
        self.slots.retain(|slot| slot.id != id);
    }
}

#[cfg(test)]
mod tests;
