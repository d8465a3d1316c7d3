//! Go's types, as far as templates meet them.

use std::fmt;

/// A type, printed as Go prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`: any value.
    Any,
    /// A parameter of Go's own functions that takes any value, `nil` of no type, too.
    Reflected,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `uint8`
    Uint8,
    /// `uint64`
    Uint64,
    /// `float64`
    Float,
    /// `complex128`
    Complex,
    /// `string`
    String,
    /// `json.Number`
    Number,
    /// `time.Duration`
    Duration,
    /// `time.Time`
    Time,
    /// `<-chan int64`
    Channel,
    /// `[]T`
    List(Box<Type>),
    /// `map[K]V`
    Map(Box<Type>, Box<Type>),
    /// `*T`, by the name of `T`
    Pointer(&'static str),
}

impl Type {
    /// `[]T`
    pub(crate) fn list(item: Self) -> Self {
        Self::List(Box::new(item))
    }

    /// `map[string]interface {}`
    pub(crate) fn dictionary() -> Self {
        Self::Map(Box::new(Self::String), Box::new(Self::Any))
    }

    /// Whether `nil` can be one.
    pub(crate) fn can_be_nil(&self) -> bool {
        matches!(
            self,
            Self::Any
                | Self::Reflected
                | Self::Channel
                | Self::List(_)
                | Self::Map(..)
                | Self::Pointer(_)
        )
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("interface {}"),
            Self::Reflected => f.write_str("reflect.Value"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Int64 => f.write_str("int64"),
            Self::Uint8 => f.write_str("uint8"),
            Self::Uint64 => f.write_str("uint64"),
            Self::Float => f.write_str("float64"),
            Self::Complex => f.write_str("complex128"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("json.Number"),
            Self::Duration => f.write_str("time.Duration"),
            Self::Time => f.write_str("time.Time"),
            Self::Channel => f.write_str("<-chan int64"),
            Self::List(item) => write!(f, "[]{item}"),
            Self::Map(key, value) => write!(f, "map[{key}]{value}"),
            Self::Pointer(name) => write!(f, "*{name}"),
        }
    }
}
