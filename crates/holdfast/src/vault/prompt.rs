//! Asking a person for a secret, without an echo.

use std::io::{self, IsTerminal};

use dialoguer::Password;
use dialoguer::theme::Theme;
use holdfast_types::SecretString;

use super::Failure;

/// Asks `question` at the terminal. The answer is not shown while it is typed.
///
/// # Errors
/// No terminal; `what` was wanted.
pub(super) fn hidden(question: &str, what: &str) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what} is needed, and there is no terminal to ask at: give it by file (key=@file) or \
             standard input (-)"
        )));
    }
    let answer = Password::with_theme(&Bare)
        .with_prompt(question)
        .allow_empty_password(true)
        .report(false)
        .interact()
        .map_err(|error| Failure::Usage(format!("read {what}: {error}")))?;
    Ok(SecretString::from(answer.trim()))
}

/// The question as it stands, without marks around it.
struct Bare;

impl Theme for Bare {
    fn format_password_prompt(
        &self,
        f: &mut dyn std::fmt::Write,
        prompt: &str,
    ) -> std::fmt::Result {
        f.write_str(prompt)
    }
}
