//! What clients look for and this server has not got, answered as OpenBao answers where there is
//! none: namespaces, copies of shares.

use holdfast_logical::{Error, Operation};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;

const NO_NAMESPACES: &str = "namespaces are not supported by this server: separate teams by mounts \
                             and policies";

/// Answers a request to `sys/namespaces`; `rest` is what follows.
pub(super) fn namespaces(invocation: &Invocation, rest: &str) -> Result<Answer, Error> {
    match invocation.request.operation {
        Operation::List if rest.is_empty() => Ok(Answer::none()),
        _ if rest.trim_matches('/').is_empty() => Err(Error::UnsupportedOperation),
        Operation::Read | Operation::Delete | Operation::List | Operation::Scan => {
            Ok(Answer::none())
        }
        _ => Err(Error::invalid(NO_NAMESPACES)),
    }
}

/// Answers a request for copies of shares: `sys/rekey/backup` and the like. None are ever made,
/// since shares cannot be encrypted for their holders.
pub(super) fn backup(invocation: &Invocation) -> Result<Answer, Error> {
    match invocation.request.operation {
        Operation::Read => Err(Error::invalid("no backed-up keys found")),
        Operation::Delete => Ok(Answer::none()),
        Operation::List => Err(Error::UnsupportedPath),
        _ => Err(Error::UnsupportedOperation),
    }
}
