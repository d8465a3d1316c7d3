//! The secrets server as a process of its own: what it promises on the wire, across kills, and on
//! the disk.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod agent;
mod audit;
mod audit_lines;
mod clients;
mod conformance;
mod delivery;
mod durable;
mod events;
mod explain;
mod identity;
mod keep_alive;
mod live_bundle;
mod monitor;
mod pool;
mod process;
mod refusals;
mod rotation;
mod routes;
mod space;
mod spiffe_crates;
mod spiffe_server;
mod transit;
mod vaultrs_walk;
mod workload_api;
mod workload_client;
