//! What is wrong with a request: the client's fault, in words for the client.

use holdfast_logical::Error;

/// Why an operation on a key was refused. In a batch it stands beside the item; a request for one
/// item is answered 400 with it. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

impl Refused {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Invalid(refused.0)
    }
}
