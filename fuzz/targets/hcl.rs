//! Any text as a policy or a configuration file.
#![no_main]

#[path = "../invariants/hcl.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::check(text));
