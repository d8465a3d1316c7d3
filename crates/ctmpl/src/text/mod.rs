//! Text as Go sees it: bytes that are mostly UTF-8, quoted and taken apart by Go's rules.

pub(crate) mod number;
pub(crate) mod quote;
pub(crate) mod rune;
