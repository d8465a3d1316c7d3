//! Any patterns, one a line, and after an empty line any paths.
#![no_main]

#[path = "../invariants/acl.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (patterns, paths) = text.split_once("\n\n").unwrap_or((text, ""));
    let patterns: Vec<&str> = patterns.lines().collect();
    let paths: Vec<&str> = paths.lines().collect();
    invariants::check(&patterns, &paths);
});
