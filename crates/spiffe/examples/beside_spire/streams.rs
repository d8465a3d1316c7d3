//! Many open streams while the authority, and everything that it signed, is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_testkit::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
use tokio::sync::mpsc;

use super::client::{PATIENCE, Workload, first_svid};
use super::memory::{agent_memory, megabytes};
use super::{milliseconds, percentile, print, progress};

/// Streams of one connection.
const PER_CONNECTION: usize = 10;
/// Connections that are made at once.
const AT_ONCE: usize = 100;
/// The authority's life. It is replaced at five sixths of it.
const AUTHORITY: Duration = Duration::from_secs(90);
const SVID: Duration = Duration::from_secs(30);

struct Seen {
    opened: f64,
    memory: f64,
    /// From the first stream that has a new SVID to the last, of the slowest round.
    spread: f64,
    rounds: usize,
    /// The slowest answer to somebody who asks meanwhile.
    slowest: f64,
    p99: f64,
}

pub(crate) async fn measure(engines: &[SpiffeEngine], streams: usize) {
    let mut all = Vec::new();
    for engine in engines {
        progress(&format!("{streams} streams: {}", engine.name()));
        let seen = of(engine, streams).await;
        progress(&format!("{} rotations", seen.rounds));
        all.push(seen);
    }
    let [ours, theirs] = &all[..] else { return };
    let goal = Some(1000.0);
    let what = |text: &str| format!("{streams} streams: {text}");
    print(&what("all open"), "ms", ours.opened, theirs.opened, None);
    print(&what("agent's memory"), "MB", ours.memory, theirs.memory, None);
    print(&what("rotations of the SVID"), "", ours.rounds as f64, theirs.rounds as f64, None);
    print(&what("first to last with a new SVID"), "ms", ours.spread, theirs.spread, goal);
    print(&what("another request, p99"), "ms", ours.p99, theirs.p99, None);
    print(&what("another request, slowest"), "ms", ours.slowest, theirs.slowest, goal);
}

async fn of(engine: &SpiffeEngine, streams: usize) -> Seen {
    let settings =
        TrustDomainSettings { ca_ttl: AUTHORITY, x509_ttl: SVID, ..TrustDomainSettings::default() };
    let domain = TrustDomain::start(engine.clone(), settings);
    let begun = Instant::now();
    domain.register(&Registration::own("/first"));
    first_svid(&domain.socket()).await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let start = Instant::now();
    let mut opened = 0;
    while opened < streams {
        let mut connecting = Vec::new();
        for _ in 0..AT_ONCE {
            let here = PER_CONNECTION.min(streams - opened);
            opened += here;
            let (mut workload, told) = (Workload::new(&domain.socket()), told.clone());
            connecting.push(async move {
                for _ in 0..here {
                    let mut stream = workload.stream().await.unwrap();
                    let first = stream.message().await.unwrap().unwrap();
                    let mut last = digest(&first.svids[0].x509_svid);
                    let told = told.clone();
                    tokio::spawn(async move {
                        while let Ok(Some(answer)) = stream.message().await {
                            // The certificate names its round. The same comes again where another
                            // key for tokens was published.
                            let name = digest(&answer.svids[0].x509_svid);
                            if std::mem::replace(&mut last, name) == name {
                                continue;
                            }
                            if told.send((name, Instant::now())).is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            if opened >= streams {
                break;
            }
        }
        let tasks: Vec<_> = connecting.into_iter().map(tokio::spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let opened = milliseconds(start.elapsed());
    let memory = megabytes(agent_memory(&domain));
    let done = Arc::new(AtomicBool::new(false));
    let probe = tokio::spawn(probe(Workload::new(&domain.socket()), done.clone()));

    // Until well past the authority's replacement.
    let mut rounds: std::collections::BTreeMap<u64, (usize, Instant, Instant)> =
        std::collections::BTreeMap::new();
    let until = begun + AUTHORITY + SVID;
    while Instant::now() < until {
        let heard = tokio::time::timeout_at(until.into(), hears.recv()).await;
        let Ok(Some((name, at))) = heard else { break };
        let (count, first, last) = rounds.entry(name).or_insert((0, at, at));
        *count += 1;
        (*first, *last) = ((*first).min(at), (*last).max(at));
    }
    done.store(true, Ordering::Relaxed);
    let mut times = probe.await.unwrap();
    assert!(begun.elapsed() < PATIENCE);
    // A round that is under way at the end is not seen whole.
    let whole: Vec<_> = rounds.values().filter(|(count, ..)| *count >= streams).collect();
    assert!(whole.len() >= 3, "the SVIDs were replaced: {rounds:?}\n{}", domain.logs());
    let spread = whole.iter().map(|(_, first, last)| milliseconds(*last - *first));
    Seen {
        opened,
        memory,
        spread: spread.fold(0.0, f64::max),
        rounds: whole.len(),
        p99: percentile(&mut times, 0.99),
        slowest: percentile(&mut times, 1.0),
    }
}

/// Asks again and again, as a workload that has just started.
async fn probe(mut workload: Workload, done: Arc<AtomicBool>) -> Vec<f64> {
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        workload.x509().await.unwrap();
        times.push(milliseconds(start.elapsed()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

fn digest(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
