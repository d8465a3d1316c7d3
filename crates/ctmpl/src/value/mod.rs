//! Values as templates see them: Go's, with the origin of each.

mod collection;
mod kind;
mod object;

use std::sync::Arc;

use holdfast_types::{SecretBytes, Timestamp};

pub(crate) use collection::{Entries, Key};
pub use collection::{List, Map};
pub use kind::Type;
pub use object::Object;

use crate::Origins;

/// A value and the secrets it was made from.
#[derive(Clone, Default)]
pub struct Value {
    pub(crate) kind: Kind,
    pub(crate) origins: Origins,
}

/// The value itself, by Go's types.
#[derive(Clone, Default)]
pub(crate) enum Kind {
    /// `nil` of no type.
    #[default]
    Nil,
    /// A nil pointer of a type.
    Null(Type),
    Bool(bool),
    /// A signed integer of type `int`, `int64` or `time.Duration`.
    Int(i64, Type),
    /// An unsigned integer of type `uint8` or `uint64`.
    Uint(u64, Type),
    Float(f64),
    Complex(f64, f64),
    /// `string`, or `json.Number`: a number of a secret, as the server wrote it.
    Text(Text, Type),
    List(Arc<List>),
    Map(Arc<Map>),
    Object(Arc<Object>),
    /// What `loop` returns: the integers from the first up to the second, not included.
    Channel(i64, i64),
    /// A time, in UTC.
    Time(Timestamp),
}

/// Bytes that are wiped when the last holder lets go of them.
pub(crate) type Text = Arc<SecretBytes>;

impl Value {
    /// `nil`.
    pub const NIL: Self = Self { kind: Kind::Nil, origins: Origins::NONE };

    /// Text.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Kind::Text(Arc::new(SecretBytes::new(bytes.into())), Type::String).into()
    }

    /// A number as JSON writes it. It prints as it was written.
    pub fn number(digits: impl Into<Vec<u8>>) -> Self {
        Kind::Text(Arc::new(SecretBytes::new(digits.into())), Type::Number).into()
    }

    /// An integer of type `int`.
    pub fn int(value: i64) -> Self {
        Kind::Int(value, Type::Int).into()
    }

    /// A float.
    pub fn float(value: f64) -> Self {
        Kind::Float(value).into()
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Kind::Bool(value).into()
    }

    /// A list of values of any type.
    pub fn list(items: Vec<Self>) -> Self {
        Self::list_of(Type::Any, items)
    }

    /// A list of text, of Go's type `[]string`.
    pub fn texts(items: Vec<Vec<u8>>) -> Self {
        Self::list_of(Type::String, items.into_iter().map(Self::text).collect())
    }

    /// A signed integer of type `int`, `int64` or `time.Duration`.
    pub fn signed(value: i64, kind: Type) -> Self {
        Kind::Int(value, kind).into()
    }

    /// An unsigned integer of type `uint8` or `uint64`.
    pub fn unsigned(value: u64, kind: Type) -> Self {
        Kind::Uint(value, kind).into()
    }

    /// A list whose items have one type.
    pub fn list_of(item: Type, items: Vec<Self>) -> Self {
        Kind::List(Arc::new(List::new(item, items))).into()
    }

    /// A map from text to values of any type. It cannot be changed by a template.
    pub fn map(entries: impl IntoIterator<Item = (Vec<u8>, Self)>) -> Self {
        Self::map_of(Type::Any, entries)
    }

    /// The same with values of one type.
    pub fn map_of(value: Type, entries: impl IntoIterator<Item = (Vec<u8>, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (Key::text(&key), value)).collect();
        Kind::Map(Arc::new(Map::fixed(Type::String, value, entries))).into()
    }

    /// A map that a template made, and may change.
    pub(crate) fn dictionary(entries: Entries) -> Self {
        Kind::Map(Arc::new(Map::shared(Type::String, Type::Any, entries))).into()
    }

    /// What JSON says, with numbers as floats as Go reads them into no particular type, or as
    /// they are written (`exact`), as in secrets.
    pub fn from_json(json: serde_json::Value, exact: bool) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::NIL,
            Json::Bool(value) => Self::bool(value),
            Json::Number(number) if exact => Self::number(number.to_string()),
            Json::Number(number) => {
                Self::float(number.to_string().parse().unwrap_or(f64::INFINITY))
            }
            Json::String(text) => Self::text(text),
            Json::Array(items) => {
                Self::list(items.into_iter().map(|item| Self::from_json(item, exact)).collect())
            }
            Json::Object(fields) => Self::dictionary(
                fields
                    .into_iter()
                    .map(|(key, value)| (Key::text(key.as_bytes()), Self::from_json(value, exact)))
                    .collect(),
            ),
        }
    }

    /// The same value, made from `origins` alone.
    #[must_use]
    pub fn with_origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// What the value itself was made from; a list's or a map's items have their own.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The bytes, if the value is text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Text(text, _) => Some(text.expose()),
            _ => None,
        }
    }

    /// The bytes of text, none of anything else: for arguments that were checked to be text.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.as_bytes().unwrap_or_default()
    }

    /// The same as a string, with U+FFFD for what is not UTF-8: for names and messages.
    pub(crate) fn lossy(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The integer of an argument that was checked to be one.
    pub(crate) fn integer(&self) -> i64 {
        match self.kind {
            Kind::Int(value, _) => value,
            Kind::Uint(value, _) => value.cast_signed(),
            _ => 0,
        }
    }

    /// Whether this is `nil` of no type.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self.kind, Kind::Nil)
    }

    /// Go's truth: not the zero of its type, not empty.
    pub(crate) fn is_true(&self) -> bool {
        match &self.kind {
            Kind::Nil | Kind::Null(_) => false,
            Kind::Bool(value) => *value,
            Kind::Int(value, _) => *value != 0,
            Kind::Uint(value, _) => *value != 0,
            Kind::Float(value) => *value != 0.0,
            Kind::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Kind::Text(text, _) => !text.expose().is_empty(),
            Kind::List(list) => !list.items().is_empty(),
            Kind::Map(map) => !map.entries().is_empty(),
            Kind::Object(_) | Kind::Channel(..) | Kind::Time(_) => true,
        }
    }

    /// Go's type, [`Type::Any`] for `nil`.
    pub(crate) fn type_of(&self) -> Type {
        match &self.kind {
            Kind::Nil => Type::Any,
            Kind::Null(kind) | Kind::Int(_, kind) | Kind::Uint(_, kind) | Kind::Text(_, kind) => {
                kind.clone()
            }
            Kind::Bool(_) => Type::Bool,
            Kind::Float(_) => Type::Float,
            Kind::Complex(..) => Type::Complex,
            Kind::List(list) => Type::List(Box::new(list.item_type().clone())),
            Kind::Map(map) => {
                Type::Map(Box::new(map.key_type().clone()), Box::new(map.value_type().clone()))
            }
            Kind::Object(object) => Type::Pointer(object.name()),
            Kind::Channel(..) => Type::Channel,
            Kind::Time(_) => Type::Time,
        }
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind, origins: Origins::NONE }
    }
}
