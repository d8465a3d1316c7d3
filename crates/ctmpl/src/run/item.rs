//! What an expression comes to.

use crate::Value;
use crate::value::{Kind, Type};

/// A value, and whether it stands in an `interface {}`: the item of a list of any type, the result
/// of a function that returns any. Go's messages tell the two apart, and nil.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) boxed: bool,
}

impl Item {
    pub(crate) fn plain(value: Value) -> Self {
        Self { value, boxed: false }
    }

    /// No value at all: not even nil of a type.
    pub(crate) fn is_invalid(&self) -> bool {
        self.value.is_nil() && !self.boxed
    }

    /// The type that Go's messages name.
    pub(crate) fn static_type(&self) -> Type {
        if self.boxed { Type::Any } else { self.value.type_of() }
    }

    /// The type that a refused argument is said to have: what is in the interface is looked at.
    pub(crate) fn unboxed_type(&self) -> Type {
        self.value.type_of()
    }

    /// The value taken out of its interface, as at the end of each command.
    pub(crate) fn unboxed(self) -> Self {
        Self::plain(self.value)
    }

    /// What a function sees that takes any value, and can tell nil in an interface from none.
    pub(crate) fn reflected(self) -> Value {
        if self.boxed && self.value.is_nil() {
            let origins = self.value.origins;
            return Value { kind: Kind::Null(Type::Any), origins };
        }
        self.value
    }
}
