//! How a template is read, and what it may cost.

/// How a template is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What opens an action. Empty stands for `{{`.
    pub left_delimiter: String,
    /// What closes an action. Empty stands for `}}`.
    pub right_delimiter: String,
    /// What a key means that a map does not have.
    pub missing_key: MissingKey,
    /// How deep parentheses and blocks may be nested. Default: 100.
    pub depth: usize,
}

/// What a key means that a map does not have (`missingkey` of Go's templates).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKey {
    /// No value. consul-template never uses it.
    Invalid,
    /// The zero of the map's value type; for any type it prints `<no value>`.
    Zero,
    /// An error: `error_on_missing_key`.
    Error,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            left_delimiter: "{{".to_owned(),
            right_delimiter: "}}".to_owned(),
            missing_key: MissingKey::Zero,
            depth: 100,
        }
    }
}

/// What one rendering may cost. Exceeding it is an error that names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps: a node or a call each, an iteration, and every 16 bytes that a function makes.
    /// Default: 10,000,000, a second or less.
    pub steps: u64,
    /// How deep templates may call templates. Default: 100. Blocks, parentheses and values
    /// nested in each other are bounded with it.
    pub depth: usize,
    /// Bytes of the output, and of any value on the way there. Default: 16 MiB.
    pub output: usize,
    /// How many different things may be asked for. Default: 10,000.
    pub needs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 10_000_000, depth: 100, output: 16 << 20, needs: 10_000 }
    }
}
