//! What the store promises, proven on real files and killed processes.
//!
//! `HOLDFAST_PROOF=full` runs the long forms: 200 kills, and a flip of every byte.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod flush;
mod kill;
mod store;

/// `short` of something, or `full` of it where the long form is asked for.
fn amount(short: usize, full: usize) -> usize {
    match std::env::var("HOLDFAST_PROOF") {
        Ok(form) if form == "full" => full,
        _ => short,
    }
}
