//! Values with named fields and methods: Go's pointers to structs.

use super::Value;

/// A value with named fields, in Go a pointer to a struct.
pub struct Object {
    name: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Object {
    pub(crate) fn new(name: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        Self { name, fields }
    }

    /// The name of Go's type, such as `dependency.Secret`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The fields in their order.
    pub(crate) fn fields(&self) -> &[(&'static str, Value)] {
        &self.fields
    }

    /// One field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}
