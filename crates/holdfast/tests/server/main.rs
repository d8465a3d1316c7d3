//! The secrets server as a process of its own: what it promises on the wire, across kills, and on
//! the disk.

mod audit;
mod conformance;
mod durable;
mod process;
