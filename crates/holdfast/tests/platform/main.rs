//! Whole platforms in temporary directories, on ports that the system picks, with stock clients.
//!
//! As root every test of a platform runs twice: as root, and as the ordinary user `nobody`.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod bootstrap_kill;
mod canary;
mod database_user;
mod days_off;
mod delivery;
mod external;
mod faults;
mod identity;
mod leaks;
mod login_keys;
mod notes;
mod ports;
mod purge;
mod renewal;
mod rotation;
mod secret_zero;
mod walk;
mod world;
