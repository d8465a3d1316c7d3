//! What is wrong with configuration files, all of it at once.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Position;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file; none where no one file is to blame.
    pub file: Option<PathBuf>,
    /// The place in it.
    pub position: Option<Position>,
    /// What is wrong, beginning with the setting's name.
    pub message: String,
}

impl fmt::Display for FileProblem {
    /// `vault.hcl:3:5: listener.tcp.adress: unknown setting`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(position) = self.position {
                write!(f, "{position}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong with a configuration, one a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileProblems(pub Vec<FileProblem>);

impl std::error::Error for FileProblems {}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl FileProblems {
    /// Adds what no one file is to blame for.
    pub fn add(&mut self, message: impl Into<String>) {
        self.0.push(FileProblem { file: None, position: None, message: message.into() });
    }

    /// Adds what is wrong in a file.
    pub fn in_file(&mut self, file: &Path, position: Option<Position>, message: impl Into<String>) {
        let file = Some(file.to_owned());
        self.0.push(FileProblem { file, position, message: message.into() });
    }
}
