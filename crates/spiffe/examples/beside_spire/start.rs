//! From a start to the first SVID, and from a rule to its SVID.

use std::time::Instant;

use holdfast_testkit::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};

use super::client::{Workload, count, first_svid};
use super::{milliseconds, percentile, print, progress};

#[derive(Default)]
struct Times {
    agent: Vec<f64>,
    both: Vec<f64>,
    rule: Vec<f64>,
}

pub(crate) async fn measure(engines: &[SpiffeEngine], rounds: usize) {
    let mut all = Vec::new();
    for engine in engines {
        progress(&format!("start: {}", engine.name()));
        all.push(of(engine, rounds).await);
    }
    let [ours, theirs] = &mut all[..] else { return };
    let (part, goal) = (0.5, Some(100.0));
    for (what, ours, theirs, goal) in [
        ("agent's start to first SVID", &mut ours.agent, &mut theirs.agent, None),
        ("server's and agent's start to first SVID", &mut ours.both, &mut theirs.both, None),
        ("entry create to its SVID on a stream", &mut ours.rule, &mut theirs.rule, goal),
    ] {
        print(what, "ms", percentile(ours, part), percentile(theirs, part), goal);
    }
    print(
        "the same, slowest",
        "ms",
        percentile(&mut ours.rule, 1.0),
        percentile(&mut theirs.rule, 1.0),
        goal,
    );
}

async fn of(engine: &SpiffeEngine, rounds: usize) -> Times {
    let mut domain = TrustDomain::start(engine.clone(), TrustDomainSettings::default());
    domain.register(&Registration::own("/first"));
    first_svid(&domain.socket()).await;
    let mut times = Times::default();
    for _ in 0..rounds {
        domain.kill_agent();
        let start = Instant::now();
        domain.spawn_agent().unwrap();
        first_svid(&domain.socket()).await;
        times.agent.push(milliseconds(start.elapsed()));
    }
    for _ in 0..rounds {
        domain.kill_agent();
        domain.kill_server();
        let start = Instant::now();
        domain.start_server();
        domain.spawn_agent().unwrap();
        first_svid(&domain.socket()).await;
        times.both.push(milliseconds(start.elapsed()));
    }
    let mut stream = Workload::new(&domain.socket()).stream().await.unwrap();
    stream.message().await.unwrap();
    for round in 0..rounds {
        let start = Instant::now();
        // With the time that the command itself takes.
        let id = domain.register(&Registration::own(&format!("/rule-{round}")));
        while count(&stream.message().await.unwrap().unwrap()) < 2 {}
        times.rule.push(milliseconds(start.elapsed()));
        domain.unregister(&id);
        while count(&stream.message().await.unwrap().unwrap()) > 1 {}
    }
    times
}
