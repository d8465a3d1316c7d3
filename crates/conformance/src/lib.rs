//! Suites of exchanges that hold our parts to the engines whose place they take.
//!
//! A suite is data: requests, and what the real engine answered to them when they were recorded. It
//! is run against our part and again against the real engine, so that neither what we expect nor
//! what we do drifts. It knows a part only by its protocol and its address.

pub mod capabilities;
pub mod capture;
mod database;
pub mod exchange;
mod http;
mod kubernetes;
mod normal;
pub mod run;
pub mod transit;
pub mod vault;
mod x509;

pub use exchange::{Exchange, Suite};
pub use http::Trust;
pub use run::{Difference, Engine, Report, Target};
