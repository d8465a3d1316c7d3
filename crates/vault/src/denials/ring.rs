//! The last denials, bounded in all and per caller.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use holdfast_types::Timestamp;

/// Denials kept in all.
pub(super) const MOST: usize = 1024;
/// Denials kept of one caller; those without a valid token count as one.
pub(super) const MOST_OF_ONE: usize = 32;

/// What is kept of one denial.
pub(super) struct Kept<D> {
    pub id: Arc<str>,
    pub at: Timestamp,
    /// Who: a token's accessor, or nobody.
    pub caller: Arc<str>,
    pub denial: D,
    /// Whether it is in the store.
    pub stored: bool,
}

/// Denials by their ids.
///
/// **Invariant**: a caller's denials push out that caller's own beyond [`MOST_OF_ONE`]; beyond
/// [`MOST`] in all, the oldest of whoever has the most goes. So nobody loses their newest to others
/// before more than [`MOST`] callers were refused.
pub(super) struct Ring<D> {
    kept: HashMap<Arc<str>, Kept<D>>,
    /// Ids by caller, oldest first.
    callers: HashMap<Arc<str>, VecDeque<Arc<str>>>,
    /// Gone from here, but still in the store.
    forgotten: Vec<Arc<str>>,
    /// Not in the store yet.
    unsaved: usize,
}

impl<D> Default for Ring<D> {
    fn default() -> Self {
        Self { kept: HashMap::new(), callers: HashMap::new(), forgotten: Vec::new(), unsaved: 0 }
    }
}

impl<D> Ring<D> {
    /// Adds a denial. An id that is there already stays what it is.
    pub(super) fn add(&mut self, kept: Kept<D>) {
        if self.kept.contains_key(&kept.id) {
            return;
        }
        let ids = self.callers.entry(kept.caller.clone()).or_default();
        // Those read back from the store come in any order.
        let later = |id: &Arc<str>| self.kept.get(id).is_some_and(|other| other.at > kept.at);
        let place = ids.iter().rposition(|id| !later(id)).map_or(0, |index| index + 1);
        ids.insert(place, kept.id.clone());
        let full = ids.len() > MOST_OF_ONE;
        self.unsaved += usize::from(!kept.stored);
        let caller = kept.caller.clone();
        self.kept.insert(kept.id.clone(), kept);
        if full {
            self.drop_oldest_of(&caller);
        }
        if self.kept.len() > MOST {
            let age = |ids: &VecDeque<Arc<str>>| {
                ids.front().and_then(|id| self.kept.get(id)).map(|kept| kept.at)
            };
            let most = self.callers.iter().max_by(|(_, one), (_, other)| {
                one.len().cmp(&other.len()).then_with(|| age(other).cmp(&age(one)))
            });
            if let Some(caller) = most.map(|(caller, _)| caller.clone()) {
                self.drop_oldest_of(&caller);
            }
        }
    }

    fn drop_oldest_of(&mut self, caller: &Arc<str>) {
        let oldest = self.callers.get(caller).and_then(|ids| ids.front()).cloned();
        if let Some(id) = oldest {
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &Arc<str>) {
        let Some(kept) = self.kept.remove(id) else { return };
        if let Some(ids) = self.callers.get_mut(&kept.caller) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.callers.remove(&kept.caller);
            }
        }
        match kept.stored {
            true => self.forgotten.push(id.clone()),
            false => self.unsaved -= 1,
        }
    }

    /// Drops what is older than `end`.
    pub(super) fn expire(&mut self, end: Timestamp) {
        let old = self.kept.values().filter(|kept| kept.at < end);
        for id in old.map(|kept| kept.id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Kept<D>> {
        self.kept.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Kept<D>> {
        self.kept.get_mut(id)
    }

    /// All, newest first.
    pub(super) fn newest(&self) -> Vec<&Kept<D>> {
        let mut all: Vec<_> = self.kept.values().collect();
        all.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.id.cmp(&other.id)));
        all
    }

    /// The ids that are not in the store yet.
    pub(super) fn unsaved(&self) -> Vec<Arc<str>> {
        if self.unsaved == 0 {
            return Vec::new();
        }
        self.kept.values().filter(|kept| !kept.stored).map(|kept| kept.id.clone()).collect()
    }

    /// The ids to be removed from the store. Whoever takes them removes them, or gives them back.
    pub(super) fn take_forgotten(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.forgotten)
    }

    pub(super) fn give_back_forgotten(&mut self, ids: Vec<Arc<str>>) {
        self.forgotten.extend(ids);
    }

    /// Notes that a denial is in the store now. One that has gone meanwhile must go from there.
    pub(super) fn saved(&mut self, id: &Arc<str>) {
        match self.kept.get_mut(id) {
            Some(kept) if !kept.stored => {
                kept.stored = true;
                self.unsaved -= 1;
            }
            Some(_) => {}
            None => self.forgotten.push(id.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(ring: &mut Ring<()>, caller: &str, number: i64) {
        ring.add(Kept {
            id: format!("{caller}-{number}").into(),
            at: Timestamp::from_second(number).unwrap(),
            caller: caller.into(),
            denial: (),
            stored: false,
        });
    }

    #[test]
    fn a_caller_pushes_out_only_its_own() {
        let mut ring = Ring::default();
        add(&mut ring, "quiet", 1);
        for number in 0..10_000 {
            add(&mut ring, "loud", number);
        }
        assert!(ring.get("quiet-1").is_some());
        assert!(ring.get("loud-9999").is_some() && ring.get("loud-9967").is_none());
        assert_eq!(ring.newest().len(), 1 + MOST_OF_ONE);
        assert_eq!(ring.unsaved().len(), 1 + MOST_OF_ONE);
        assert_eq!(&*ring.newest()[0].id, "loud-9999");
    }

    #[test]
    fn many_callers_share_what_there_is() {
        let mut ring = Ring::default();
        for number in 0..20 {
            add(&mut ring, "victim", number);
        }
        for caller in 0..2000 {
            add(&mut ring, &format!("c{caller}"), 100 + caller);
        }
        assert_eq!(ring.newest().len(), MOST);
        // More than MOST callers: by now even the last one of the victim's has gone.
        assert!(ring.get("victim-19").is_none());
        let mut ring = Ring::default();
        for number in 0..20 {
            add(&mut ring, "victim", number);
        }
        for caller in 0..1000 {
            add(&mut ring, &format!("c{caller}"), 100 + caller);
            add(&mut ring, &format!("c{caller}"), 100 + caller);
        }
        assert!(ring.get("victim-19").is_some(), "the newest stays");
    }

    #[test]
    fn what_was_stored_is_removed_from_there() {
        let mut ring = Ring::default();
        for number in 0..40 {
            add(&mut ring, "c", number);
            ring.saved(&format!("c-{number}").into());
        }
        assert_eq!(ring.take_forgotten().len(), 8);
        assert!(ring.unsaved().is_empty());
        ring.expire(Timestamp::from_second(30).unwrap());
        assert_eq!(ring.newest().len(), 10);
        assert_eq!(ring.take_forgotten().len(), 22);
        // Saved after it had gone.
        ring.saved(&"c-1".into());
        assert_eq!(ring.take_forgotten().len(), 1);
    }
}
