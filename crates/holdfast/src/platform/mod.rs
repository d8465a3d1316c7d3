//! `holdfast up`: from a platform directory to a running platform, and everything about it while
//! it runs.
//!
//! [`config`] reads what a platform is made of. The [`supervisor`] makes it so: one process per
//! state directory, which starts the parts ([`part`], by way of [`launch`]), gives them
//! certificates ([`root`]) and answers on a private socket ([`control`]). The [`verbs`] are
//! clients of that socket, and most of them work without it.
//!
//! **Invariant**: whatever the supervisor was doing when it was killed, the next `up` converges.
//! Each step finds out what is there already, and what is half done is undone or done again.

mod account;
mod certificate;
mod cgroup;
pub(crate) mod config;
mod confinement;
mod control;
mod delivery;
mod files;
mod identity;
mod isolation;
pub(crate) mod launch;
mod leftovers;
mod logs;
mod part;
mod ports;
mod postgres;
mod progress;
mod root;
mod seal;
mod signing;
mod space;
mod spiffe;
mod state;
mod status;
mod supervisor;
mod tmpfs;
mod vault;
pub(crate) mod verbs;
