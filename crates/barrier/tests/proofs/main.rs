//! What the store promises, proven on real files and killed processes.
//!
//! `HOLDFAST_PROVE_KILLS` is the number of kills, of which the full number is 200;
//! `HOLDFAST_PROVE_FLIPS` the number of flipped bytes in each file, where a number larger than the
//! file means all of them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod fixture;
mod flush;
mod kill;
mod store;

/// How often to do something: as often as `variable` says, or else a `few` times.
fn rounds(variable: &str, few: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => few,
    }
}
