//! Giving shares of a key to an operation that needs several of them.

use std::io;

use clap::Args;
use holdfast_types::SecretString;

use super::super::output::print_line;
use super::super::{Failure, prompt};

/// A share, and the attempt that it is for.
#[derive(Debug, Args)]
pub(super) struct Share {
    /// A share of the key, or `-` for standard input; arguments are visible to other processes
    key: Option<String>,
    /// The attempt that the share is for; not needed where the share is asked for
    #[arg(long, value_name = "NONCE", default_value = "", hide_default_value = true)]
    nonce: String,
}

impl Share {
    /// The share and the nonce to send. At the terminal the nonce of the attempt under way,
    /// `current`, is shown, so that all who give shares can see that they mean the same one.
    pub(super) fn read(
        &self,
        current: &str,
        interactive: bool,
    ) -> Result<(SecretString, String), Failure> {
        let key = match self.key.as_deref().map(str::trim).unwrap_or_default() {
            "" if !interactive => {
                return Err(Failure::Usage(
                    "Refusing to read from stdin with -non-interactive specified; specify nonce \
                     via the -nonce\nflag"
                        .into(),
                ));
            }
            "" => {
                print_line(&format!("Operation nonce: {current}"))?;
                let key = prompt::hidden("Key (will be hidden): ", "a share of the key")?;
                return Ok((key, current.to_owned()));
            }
            "-" => {
                let text = io::read_to_string(io::stdin()).map_err(|error| {
                    Failure::Usage(format!("Failed to read from stdin: {error}"))
                })?;
                SecretString::from(text.trim())
            }
            key => SecretString::from(key),
        };
        if self.nonce.is_empty() {
            let text = "Missing nonce value: specify it via the -nonce flag";
            return Err(Failure::Usage(text.into()));
        }
        Ok((key, self.nonce.clone()))
    }
}
