//! Lists and maps.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{Kind, Type, Value};

/// A list: of Go's type `[]interface {}`, or of one item type. It does not change.
pub struct List {
    item: Type,
    items: Vec<Value>,
}

impl List {
    pub(super) fn new(item: Type, items: Vec<Value>) -> Self {
        Self { item, items }
    }

    /// The items.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    pub(crate) fn item_type(&self) -> &Type {
        &self.item
    }
}

impl Drop for List {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.items));
    }
}

/// A map. One that came from outside does not change; one that a template made may (`sprig_set`,
/// `mergeMap`), and each holder sees it, as in Go.
pub struct Map {
    key: Type,
    value: Type,
    entries: Storage,
}

/// A map's entries, sorted as Go prints them.
pub(crate) type Entries = BTreeMap<Key, Value>;

enum Storage {
    Fixed(Entries),
    Shared(RwLock<Entries>),
}

/// The entries of a map while they are looked at.
pub(crate) enum Reading<'a> {
    Fixed(&'a Entries),
    Shared(RwLockReadGuard<'a, Entries>),
}

impl Deref for Reading<'_> {
    type Target = Entries;

    fn deref(&self) -> &Entries {
        match self {
            Self::Fixed(entries) => entries,
            Self::Shared(entries) => entries,
        }
    }
}

impl Map {
    pub(crate) fn fixed(key: Type, value: Type, entries: Entries) -> Self {
        Self { key, value, entries: Storage::Fixed(entries) }
    }

    pub(crate) fn shared(key: Type, value: Type, entries: Entries) -> Self {
        Self { key, value, entries: Storage::Shared(RwLock::new(entries)) }
    }

    pub(crate) fn key_type(&self) -> &Type {
        &self.key
    }

    pub(crate) fn value_type(&self) -> &Type {
        &self.value
    }

    pub(crate) fn entries(&self) -> Reading<'_> {
        match &self.entries {
            Storage::Fixed(entries) => Reading::Fixed(entries),
            Storage::Shared(entries) => {
                Reading::Shared(entries.read().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// The value of a key that is text.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        // Not through a key of its own, which would be copied for each look.
        self.entries().get(&key as &dyn AsText).cloned()
    }

    /// Changes the entries. `None` if the map came from outside.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> Option<T> {
        match &self.entries {
            Storage::Fixed(_) => None,
            Storage::Shared(entries) => {
                Some(change(&mut entries.write().unwrap_or_else(PoisonError::into_inner)))
            }
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let entries = match &mut self.entries {
            Storage::Fixed(entries) => std::mem::take(entries),
            Storage::Shared(entries) => {
                std::mem::take(entries.get_mut().unwrap_or_else(PoisonError::into_inner))
            }
        };
        dismantle(entries.into_values().collect());
    }
}

/// Drops values without recursion: a template can nest lists as deep as its budget goes, deeper
/// than the stack.
fn dismantle(mut values: Vec<Value>) {
    while let Some(value) = values.pop() {
        match value.kind {
            Kind::List(list) => {
                if let Some(mut list) = Arc::into_inner(list) {
                    values.append(&mut list.items);
                }
            }
            Kind::Map(map) => {
                if let Some(mut map) = Arc::into_inner(map) {
                    match &mut map.entries {
                        Storage::Fixed(entries) => {
                            values.extend(std::mem::take(entries).into_values());
                        }
                        Storage::Shared(entries) => {
                            let entries = entries.get_mut().unwrap_or_else(PoisonError::into_inner);
                            values.extend(std::mem::take(entries).into_values());
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// A map's key. Keys are names, and not wiped.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<[u8]>),
}

impl Key {
    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self::Text(bytes.into())
    }

    /// The key as a value.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::bool(*value),
            Self::Int(value) => Value::int(*value),
            Self::Float(value) => Value::float(*value),
            Self::Text(bytes) => Value::text(bytes.to_vec()),
        }
    }

    /// The key that a value is, if it can be one.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match &value.kind {
            Kind::Bool(value) => Some(Self::Bool(*value)),
            Kind::Int(value, _) => Some(Self::Int(*value)),
            Kind::Float(value) => Some(Self::Float(*value)),
            Kind::Text(text, _) => Some(Self::text(text.expose())),
            _ => None,
        }
    }

    fn as_text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::Text(_) => 2,
            Self::Bool(_) => 3,
        }
    }
}

/// What a map is looked up by: a key, or the bytes of one that is text.
trait AsText {
    /// The bytes; `None` of the keys that are no text.
    fn text(&self) -> Option<&[u8]>;
    /// Whether a key that is no text stands behind text, not before it.
    fn behind(&self) -> bool;
}

impl AsText for Key {
    fn text(&self) -> Option<&[u8]> {
        self.as_text()
    }

    fn behind(&self) -> bool {
        matches!(self, Self::Bool(_))
    }
}

impl AsText for &[u8] {
    fn text(&self) -> Option<&[u8]> {
        Some(self)
    }

    fn behind(&self) -> bool {
        false
    }
}

impl<'a> Borrow<dyn AsText + 'a> for Key {
    fn borrow(&self) -> &(dyn AsText + 'a) {
        self
    }
}

impl Ord for dyn AsText + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        // Only ever between text and a key of the map: keys that are no text equal each other.
        match (self.text(), other.text()) {
            (Some(left), Some(right)) => left.cmp(right),
            (Some(_), None) if other.behind() => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) if self.behind() => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => Ordering::Equal,
        }
    }
}

impl PartialOrd for dyn AsText + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn AsText + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn AsText + '_ {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.total_cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}
