//! YAML as consul-template's library reads and writes it: version 1.1, in which `yes` is true and
//! `0o17` is text.

mod parse;
mod resolve;
mod scalar;
mod write;

pub(crate) use parse::parse;
pub(crate) use write::write;
