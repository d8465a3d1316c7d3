//! What a check found.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// How bad it is; as a number it is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    NotApplicable,
    Ok,
    Informational,
    Warning,
    Critical,
    InvalidVersion,
    InsufficientPermissions,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Ok => "ok",
            Self::Informational => "informational",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::InvalidVersion => "invalid_version",
            Self::InsufficientPermissions => "insufficient_permissions",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: Status,
    /// The path that it is about, such as `/pki/roles/web`.
    pub(super) endpoint: String,
    /// A sentence for people.
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(status: Status, endpoint: &str, message: impl Into<String>) -> Self {
        Self { status, endpoint: endpoint.to_owned(), message: message.into() }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Finding", 4)?;
        fields.serialize_field("status_code", &(self.status as u8))?;
        fields.serialize_field("status", self.status.name())?;
        fields.serialize_field("endpoint", &self.endpoint)?;
        fields.serialize_field("message", &self.message)?;
        fields.end()
    }
}
