//! As many answers as there can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_testkit::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
use tokio::task::JoinSet;

use super::client::{Workload, first_svid};
use super::memory::Cpu;
use super::{milliseconds, percentile, print, progress};

/// Each with one request under way.
const CONNECTIONS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    X509,
    Jwt,
}

/// What a round saw.
struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

pub(crate) async fn measure(engines: &[SpiffeEngine], rounds: usize, length: Duration) {
    let mut domains = Vec::new();
    for engine in engines {
        let domain = TrustDomain::start(engine.clone(), TrustDomainSettings::default());
        domain.register(&Registration::own("/first"));
        first_svid(&domain.socket()).await;
        domains.push(domain);
    }
    for (kind, name) in
        [(Kind::X509, "FetchX509SVID"), (Kind::Jwt, "FetchJWTSVID, unique audience")]
    {
        let mut seen: Vec<Vec<Seen>> = domains.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for (domain, seen) in domains.iter().zip(&mut seen) {
                progress(&format!("{name}: round {round}, {}", domain.engine().name()));
                seen.push(run(domain, kind, length).await);
            }
        }
        for (what, unit, of) in [
            ("", "requests/s", (|seen: &Seen| seen.rate) as fn(&Seen) -> f64),
            (" p50", "ms", |seen| seen.p50),
            (" p99", "ms", |seen| seen.p99),
            (" CPU", "us/request", |seen| seen.cpu),
        ] {
            let of = |index: usize| {
                let mut values: Vec<f64> = seen[index].iter().map(of).collect();
                percentile(&mut values, 0.5)
            };
            print(&format!("{name}{what}"), unit, of(0), of(1), None);
        }
    }
}

async fn run(domain: &TrustDomain, kind: Kind, length: Duration) -> Seen {
    let number = Arc::new(AtomicU64::new(0));
    let run = std::process::id();
    let cpu = Cpu::of(domain);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (mut workload, number) = (Workload::new(&domain.socket()), number.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < length {
                let begin = Instant::now();
                match kind {
                    Kind::X509 => {
                        workload.x509().await.unwrap();
                    }
                    Kind::Jwt => {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let since = start.elapsed().as_nanos();
                        workload.jwt(format!("audience-{run}-{since}-{number}")).await.unwrap();
                    }
                }
                times.push(milliseconds(begin.elapsed()));
            }
            times
        });
    }
    let mut times: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = start.elapsed().as_secs_f64();
    let count = times.len() as f64;
    Seen {
        rate: count / elapsed,
        p50: percentile(&mut times, 0.5),
        p99: percentile(&mut times, 0.99),
        cpu: (Cpu::of(domain).0 - cpu.0) * 1e6 / count,
    }
}
