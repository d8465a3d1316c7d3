//! A file that holds a credential.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use holdfast_types::SecretString;
use zeroize::Zeroizing;

use super::LoginError;

/// More than any credential: longer files are none.
const LIMIT: u64 = 1 << 20;

/// A file that is read for each login. What was read last counts while it is gone or empty.
pub(super) struct Source {
    path: PathBuf,
    last: Option<SecretString>,
}

impl Source {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// Its text without the space around it.
    pub(super) fn read(&mut self) -> Result<SecretString, LoginError> {
        match read(&self.path) {
            Ok(Some(text)) => self.last = Some(text),
            Ok(None) if self.last.is_some() => {}
            Err(_) if self.last.is_some() => {}
            Ok(None) => {
                let text = format!("{} is missing or empty", self.path.display());
                return Err(LoginError::Credential(text));
            }
            Err(source) => return Err(LoginError::Read { path: self.path.clone(), source }),
        }
        Ok(self.last.clone().unwrap_or_default())
    }
}

/// The text of a file without the space around it; none where there is no file, or none in it.
pub(super) fn read(path: &Path) -> io::Result<Option<SecretString>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Zeroizing::new(String::new());
    let length = file.take(LIMIT + 1).read_to_string(&mut text)?;
    if length as u64 > LIMIT {
        return Err(io::Error::other("it is too long for a credential"));
    }
    let text = text.trim();
    Ok((!text.is_empty()).then(|| SecretString::from(text)))
}
