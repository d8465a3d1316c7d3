//! A policy's text in its canonical form.

use crate::{Policy, PolicyError};

/// Why a text is not formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// It is one in JSON, which has no canonical form, or sets a key twice.
    #[error("{0}")]
    Form(String),
}

/// `text`, a policy in HCL, in its canonical form, with its comments.
///
/// # Errors
/// See [`FormatError`].
pub fn format(text: &str) -> Result<String, FormatError> {
    Policy::parse("", text)?;
    holdfast_hcl::format(text).map_err(|error| FormatError::Form(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_are_formatted() {
        let formatted = format("path \"a\"{capabilities=[\"read\"]}").unwrap();
        assert_eq!(formatted, "path \"a\" {\n  capabilities = [\"read\"]\n}\n");
        assert_eq!(format(&formatted).unwrap(), formatted);
        let refused = format("path \"a\" { capabilities = [\"frob\"] }");
        assert!(matches!(refused, Err(FormatError::Policy(_))));
        assert!(matches!(format("{\"path\": {}}"), Err(FormatError::Form(_))));
    }
}
