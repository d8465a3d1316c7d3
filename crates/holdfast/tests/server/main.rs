//! The secrets server as a process of its own: what it promises across kills, and on the disk.

mod audit;
mod durable;
mod process;
