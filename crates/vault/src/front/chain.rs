//! Errors, whole: on one line for the log, and as an answer.

use std::error::Error;
use std::fmt;

use tracing::error;

use crate::wire::Outgoing;

/// Prints an error and everything that caused it, joined by colons.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Logs a failure that an operator must see, and answers 500 with it. What happens at these paths
/// holds no secret and concerns those who run the server.
pub(super) fn report(doing: &str, failure: &(dyn Error + 'static)) -> Outgoing {
    error!(error = %Chain(failure), "{doing}");
    Outgoing::errors(500, [format!("{doing}: {}", Chain(failure))])
}
