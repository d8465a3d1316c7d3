//! The secrets server as a process of its own: what it promises on the wire, across kills, and on
//! the disk.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod audit;
mod conformance;
mod durable;
mod explain;
mod process;
mod routes;
mod transit;
