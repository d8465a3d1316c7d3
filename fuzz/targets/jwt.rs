//! Any text as a signed token, and as a key set.
#![no_main]

#[path = "../invariants/jwt.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &str| invariants::check(text));
