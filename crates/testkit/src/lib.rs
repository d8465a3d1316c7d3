//! What tests of every crate need: clocks that are told the time, a certificate authority, a fake of
//! a Kubernetes cluster, a real PostgreSQL, stock clients and the real secrets server.

mod ca;
mod clock;
mod cluster;
mod elsewhen;
mod postgres;
mod stock;
mod trust_domain;

pub use ca::{Ca, Leaf};
pub use clock::FakeClock;
pub use cluster::FakeCluster;
pub use elsewhen::{move_clock, set_clock};
pub use postgres::{Postgres, PostgresSettings};
pub use stock::{Envoy, PublishedCrate, PublishedOutcome, Spire, Stock, StockServer, install_go};
pub use trust_domain::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
