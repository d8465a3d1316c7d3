//! The `holdfast` binary.

use std::process::ExitCode;

mod apply;
mod cli;
mod delivery;
mod doctor;
mod finding;
mod platform;
mod policy;
mod recover;
mod resident;
mod rotate;
mod spiffe;
mod vault;
mod why;

fn main() -> ExitCode {
    // One provider for every TLS connection of the process, chosen before the first of them.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing runs before main");
    cli::main(std::env::args_os())
}
