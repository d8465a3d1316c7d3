//! Processes that use what is delivered: told after the flip, and asked whether they took it up.
//!
//! A consumer that has not said so is *stale*: the generation it is on stays, and so do the
//! credentials in it.

mod acknowledge;
mod child;
mod command;
mod former;
mod launch;
mod ledger;
mod orders;
mod pid_file;
mod ready;
mod supervisor;

pub use acknowledge::acknowledged;
pub use child::{Child, ChildError, Ended, Grace, Guard};
pub use command::{CommandError, run};
pub use former::Former;
pub use launch::{LaunchError, Launcher, become_process};
pub use ledger::{Consumer, Ledger};
pub use orders::{Order, Ordered, Orders, orders};
pub use pid_file::notify;
pub use ready::{Ready, ReadySocket, Wait, now};
pub use supervisor::{Report, supervise};

/// The variable by which a command learns which generation it is told of.
pub const GENERATION: &str = "HOLDFAST_GENERATION";
