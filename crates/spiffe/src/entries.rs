//! Many entries, of which a copy is made at once and a change costs little.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use crate::Entry;

/// So many parts are shared by copies: a change copies one of them, and looks at the others.
const PARTS: usize = 256;

/// Parts by the hash of a key. Copies share the parts that are the same in both.
#[derive(Debug, Clone)]
pub(crate) struct Parts<T> {
    parts: Vec<Arc<T>>,
    hasher: RandomState,
}

impl<T: Default + Clone> Default for Parts<T> {
    fn default() -> Self {
        let one = Arc::<T>::default();
        Self { parts: vec![one; PARTS], hasher: RandomState::new() }
    }
}

impl<T: Clone> Parts<T> {
    fn place<K: Hash + ?Sized>(&self, key: &K) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "any of its bits will do")]
        let hash = self.hasher.hash_one(key) as usize;
        hash % PARTS
    }

    pub(crate) fn of<K: Hash + ?Sized>(&self, key: &K) -> &T {
        &self.parts[self.place(key)]
    }

    /// To be changed; copied first where another has it, too.
    pub(crate) fn of_mut<K: Hash + ?Sized>(&mut self, key: &K) -> &mut T {
        let place = self.place(key);
        Arc::make_mut(&mut self.parts[place])
    }

    /// The pairs of parts that are not one and the same.
    fn differing<'p>(&'p self, other: &'p Self) -> impl Iterator<Item = (&'p T, &'p T)> {
        let pairs = self.parts.iter().zip(&other.parts);
        pairs.filter(|(one, two)| !Arc::ptr_eq(one, two)).map(|(one, two)| (&**one, &**two))
    }
}

/// Entries by id.
#[derive(Clone, Default)]
pub struct Entries {
    parts: Parts<HashSet<ById>>,
    count: usize,
}

/// An entry that is the same as another if its id is.
#[derive(Clone)]
struct ById(Arc<Entry>);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

/// How one set of entries differs from an earlier one. An entry that changed is in both lists.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As they were before.
    pub gone: Vec<Arc<Entry>>,
    /// As they are now.
    pub come: Vec<Arc<Entry>>,
}

impl Entries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entry of that id.
    pub fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.parts.of(id).get(id).map(|found| &found.0)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.parts.parts.iter().flat_map(|part| part.iter()).map(|found| &found.0)
    }

    /// All of them, the oldest first.
    pub fn by_age(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.iter().cloned().collect();
        all.sort_by(|a, b| a.age().cmp(&b.age()));
        all
    }

    /// Adds an entry, or replaces the one of its id.
    pub fn insert(&mut self, entry: Arc<Entry>) {
        let part = self.parts.of_mut(entry.id.as_str());
        if part.replace(ById(entry)).is_none() {
            self.count += 1;
        }
    }

    /// Removes the entry of that id.
    pub fn remove(&mut self, id: &str) -> Option<Arc<Entry>> {
        self.get(id)?;
        let found = self.parts.of_mut(id).take(id)?;
        self.count -= 1;
        Some(found.0)
    }

    /// How these differ from `before`; quick where one is a changed copy of the other.
    pub fn since(&self, before: &Self) -> Difference {
        let mut difference = Difference::default();
        for (now, then) in self.parts.differing(&before.parts) {
            for ById(entry) in now {
                match before.get(&entry.id) {
                    Some(known) if Arc::ptr_eq(known, entry) || known == entry => {}
                    _ => difference.come.push(entry.clone()),
                }
            }
            for ById(known) in then {
                match self.get(&known.id) {
                    Some(entry) if Arc::ptr_eq(known, entry) || known == entry => {}
                    _ => difference.gone.push(known.clone()),
                }
            }
        }
        difference
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.since(other) == Difference::default()
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_age()).finish()
    }
}

impl FromIterator<Arc<Entry>> for Entries {
    fn from_iter<I: IntoIterator<Item = Arc<Entry>>>(entries: I) -> Self {
        let mut all = Self::default();
        entries.into_iter().for_each(|entry| all.insert(entry));
        all
    }
}
