//! Secrets engines: what is mounted to keep secrets or to make them. Each is a
//! [`Backend`](holdfast_logical::Backend) that is built from a
//! [`Context`](holdfast_logical::Context).

pub mod cubbyhole;
pub mod database;
pub mod kv;
pub mod pki;
pub mod transit;
