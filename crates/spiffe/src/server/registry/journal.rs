//! Which entries changed last.

use std::collections::{BTreeSet, VecDeque};

/// So many changes are kept. Whoever is further behind looks at everything.
const KEPT: usize = 16_384;

/// One change.
#[derive(Debug)]
pub(super) enum Step {
    /// The entry of this id was made, changed or removed, and no other is concerned.
    Entry(String),
    /// Others may be, which stand below it.
    Tree,
}

/// The last changes, in their order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    steps: VecDeque<Step>,
    /// How many there were before the first that is kept.
    forgotten: u64,
}

impl Journal {
    pub(super) fn add(&mut self, step: Step) {
        if self.steps.len() >= KEPT {
            self.steps.pop_front();
            self.forgotten += 1;
        }
        self.steps.push_back(step);
    }

    /// How many changes there were.
    pub(super) fn position(&self) -> u64 {
        self.forgotten + self.steps.len() as u64
    }

    /// The entries that changed after the first `position` changes, where only they are concerned
    /// and all of these changes are kept.
    pub(super) fn since(&self, position: u64) -> Option<BTreeSet<&str>> {
        let skip = usize::try_from(position.checked_sub(self.forgotten)?).ok()?;
        let steps = self.steps.range(skip.min(self.steps.len())..);
        let changed = steps.map(|step| match step {
            Step::Entry(id) => Some(id.as_str()),
            Step::Tree => None,
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_not_known() {
        let mut journal = Journal::default();
        for number in 0..KEPT + 2 {
            journal.add(Step::Entry(format!("{}", number % 3)));
        }
        let position = journal.position();
        assert_eq!(journal.since(position), Some(BTreeSet::new()));
        assert_eq!(journal.since(position - 2).map(|ids| ids.len()), Some(2));
        assert_eq!(journal.since(2).map(|ids| ids.len()), Some(3));
        assert_eq!(journal.since(1), None);
        journal.add(Step::Tree);
        assert_eq!(journal.since(position), None);
        assert_eq!(journal.since(position + 1), Some(BTreeSet::new()));
    }
}
