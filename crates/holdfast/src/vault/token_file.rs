//! The file in which `login` keeps a token: the same as `bao`'s.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use holdfast_types::SecretString;

use super::{Failure, environment};

/// `~/.vault-token`, or where `BAO_TOKEN_PATH` says.
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    /// Where it is, whether or not it exists.
    pub(super) fn find() -> Result<Self, Failure> {
        if let Some(path) = environment::read("TOKEN_PATH") {
            return Ok(Self(path.into()));
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        home.map(|home| Self(home.join(".vault-token"))).ok_or_else(|| {
            Failure::Request("find the stored token: no home directory; set HOME".into())
        })
    }

    /// Where it is, as a text.
    pub(super) fn path(&self) -> Cow<'_, str> {
        self.0.to_string_lossy()
    }

    /// The stored token, if there is one.
    pub(super) fn read(&self) -> Result<Option<SecretString>, Failure> {
        match fs::read_to_string(&self.0) {
            Ok(text) => {
                let token = text.trim();
                Ok((!token.is_empty()).then(|| SecretString::from(token)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    /// Stores `token`, readable by its owner alone, in place of what was there.
    pub(super) fn store(&self, token: &SecretString) -> Result<(), Failure> {
        // A new file each time: the mode of one that is there already cannot be relied on.
        let mut new = self.0.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(new);
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(token.expose().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.0)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&new);
            self.failed("write", &error)
        })
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Failure {
        Failure::Request(format!("{verb} the stored token {}: {error}", self.0.display()))
    }
}
