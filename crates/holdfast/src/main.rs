//! The `holdfast` binary.
#[allow(dead_code, unused_imports, reason = "the commands that use it follow")]
mod apply;

fn main() {}
