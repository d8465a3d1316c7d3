//! What a template asks of its surroundings.

use std::collections::BTreeMap;

use holdfast_types::Timestamp;

use crate::Value;

/// Something that a template needs from the secrets server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// `secret "path"`: a read.
    Read {
        /// The path as it is written but for slashes and spaces around it, such as
        /// `secret/data/web` or, of the key/value engine, `secret/web`.
        path: String,
        /// What follows `?` in the path, such as `version=3`.
        parameters: BTreeMap<String, String>,
    },
    /// `secret "path" "key=value" …`: a write whose answer is used.
    Write {
        /// The path.
        path: String,
        /// The body.
        parameters: BTreeMap<String, String>,
    },
    /// `secrets "path"`: a list of names.
    List {
        /// The path.
        path: String,
    },
    /// `pkiCert "path" "key=value" …`: a certificate that is kept until it is nearly over.
    PkiCert {
        /// The path, such as `pki/issue/web`.
        path: String,
        /// The body.
        parameters: BTreeMap<String, String>,
    },
}

impl Need {
    /// The path that is asked.
    pub fn path(&self) -> &str {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::List { path }
            | Self::PkiCert { path, .. } => path,
        }
    }
}

/// What a source says of a [`Need`].
pub enum Answer {
    /// Here it is: for reads and writes [`secret`](crate::secret), for lists
    /// [`names`](crate::names), for certificates [`certificate`](crate::certificate).
    Known(Value),
    /// There is none: the function returns nil, and the output is complete without it.
    Absent,
    /// Not known yet: the function returns nil, and the output is not complete.
    Pending,
    /// It cannot be had; rendering ends with this.
    Failed(String),
}

/// Where a template's values come from.
///
/// A template runs several times: what is [`Answer::Pending`] is nil, so that one run finds
/// most needs at once, and the run after them the needs that depend on the answers.
pub trait Source {
    /// What is known of `need`.
    fn ask(&self, need: &Need) -> Answer;

    /// A variable of the environment.
    fn env(&self, name: &str) -> Option<String>;

    /// What `file` returns for a path: the contents, or why not.
    ///
    /// # Errors
    /// What to tell the template's author, such as `open /etc/x: no such file or directory`.
    fn file(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The time now.
    fn now(&self) -> Timestamp;

    /// Whether the time given to this rendering is over. Asked every thousand steps or so.
    fn expired(&self) -> bool {
        false
    }
}
