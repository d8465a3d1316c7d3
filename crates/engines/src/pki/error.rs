//! How the engine refuses.

use holdfast_keys::x509::X509Error;
use holdfast_logical::Error;

/// A request at fault, in the words of Go's multierror: OpenBao gives it 500, we give it 400.
pub(super) fn fault(problem: impl std::fmt::Display) -> Error {
    Error::Status { status: 400, message: format!("1 error occurred:\n\t* {problem}\n\n") }
}

/// A failure of cryptography that no client is to blame for.
pub(super) fn failed(doing: &'static str) -> impl Fn(X509Error) -> Error {
    move |error| Error::internal(doing, error)
}
