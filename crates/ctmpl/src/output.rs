//! What rendering makes.

use std::ops::Range;

use holdfast_types::SecretBytes;
use zeroize::Zeroize;

use crate::error::Exceeded;
use crate::{Need, Origins};

/// A rendered template.
#[derive(Debug)]
pub struct Output {
    /// The text.
    pub bytes: SecretBytes,
    /// Which bytes came from secrets, in order, without gaps' owners: what no span covers is the
    /// template's own text.
    pub spans: Vec<Span>,
    /// All that was asked for, each once, in the order of first asking.
    pub needs: Vec<Need>,
    /// Those of [`needs`](Self::needs) that were not known.
    pub pending: Vec<Need>,
    /// Files of the machine that were read, in the order of first asking.
    pub files: Vec<String>,
    /// Variables of the environment that were read.
    pub variables: Vec<String>,
    /// What is to be done beside writing the text, in order.
    pub effects: Vec<WriteFile>,
    /// Whether every need was answered. The text of an output that is not complete is of no use.
    pub complete: bool,
}

/// Some bytes of an output and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The bytes.
    pub range: Range<usize>,
    /// Where they came from; never empty.
    pub origins: Origins,
}

/// `writeToFile`: a file that is to be written if the rendering is used.
#[derive(Debug, Clone)]
pub struct WriteFile {
    /// The path.
    pub path: String,
    /// Name or number of the owner; empty for the process's own.
    pub owner: String,
    /// Name or number of the group; empty for the process's own.
    pub group: String,
    /// The permissions, such as `0o644`.
    pub permissions: u32,
    /// What to write, with the newline if one was asked for.
    pub content: SecretBytes,
    /// Where the content came from.
    pub origins: Origins,
    /// Add to the file instead of replacing it.
    pub append: bool,
}

/// Bytes under way to an output: bounded, wiped when they move.
pub(crate) struct Sink {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    limit: usize,
}

impl Sink {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), spans: Vec::new(), limit }
    }

    pub(crate) fn write(&mut self, bytes: &[u8], origins: &Origins) -> Result<(), Exceeded> {
        if bytes.is_empty() {
            return Ok(());
        }
        let start = self.bytes.len();
        if bytes.len() > self.limit - start {
            return Err(Exceeded::Output);
        }
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
        if !origins.is_empty() {
            let end = self.bytes.len();
            match self.spans.last_mut() {
                Some(last) if last.range.end == start && last.origins == *origins => {
                    last.range.end = end;
                }
                _ => self.spans.push(Span { range: start..end, origins: origins.clone() }),
            }
        }
        Ok(())
    }

    /// A vector that grows by itself leaves its old bytes behind.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.bytes.capacity() * 2).max(256));
            larger.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = larger;
        }
    }

    /// The bytes and their spans.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Span>) {
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.spans))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
