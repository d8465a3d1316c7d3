//! Errors with what caused them, for a line of a log.

use std::error::Error as StdError;
use std::fmt;

/// Shows an error with all its causes: `read credential: reach db.local: connection refused`.
///
/// A cause whose words an error already ends with is not repeated.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn causes_are_told_once() {
        let link = |text, cause: Option<Link>| Link(text, cause.map(Box::new));
        let refused = || link("connection refused", None);
        for (error, want) in [
            (refused(), "connection refused"),
            (link("reach db", Some(refused())), "reach db: connection refused"),
            (
                link("read", Some(link("reach db: connection refused", Some(refused())))),
                "read: reach db: connection refused",
            ),
        ] {
            assert_eq!(Chain(&error).to_string(), want);
        }
    }
}
