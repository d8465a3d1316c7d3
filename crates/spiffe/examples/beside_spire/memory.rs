//! Many entries: memory, and how long a new one takes among them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_spiffe::proto::node::{Entry, Selector};
use holdfast_spiffe::proto::workload::X509svidResponse;
use holdfast_testkit::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
use serde_json::json;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::client::{PATIENCE, Workload, first_svid};
use super::{milliseconds, print, progress};

/// Entries that are created at once by our own API, and by one command of SPIRE's.
const AT_ONCE: (usize, usize) = (32, 1000);

struct Seen {
    server: f64,
    agent: f64,
    rule: f64,
    made: f64,
}

pub(crate) async fn measure(engines: &[SpiffeEngine], steps: &[usize]) {
    let mut all: Vec<Vec<Seen>> = Vec::new();
    for engine in engines {
        let domain = TrustDomain::start(engine.clone(), TrustDomainSettings::default());
        // Whoever has no identity has no stream, so this one stays.
        domain.register(&Registration::own("/probe"));
        first_svid(&domain.socket()).await;
        let mut seen = Vec::new();
        let mut before = 0;
        for &entries in steps {
            progress(&format!("{entries} entries: {}", engine.name()));
            seen.push(grow(&domain, before, entries).await);
            before = entries;
        }
        all.push(seen);
    }
    let [ours, theirs] = &all[..] else { return };
    for ((entries, ours), theirs) in steps.iter().zip(ours).zip(theirs) {
        let what = |text: &str| format!("{entries} entries: {text}");
        print(&what("server's memory"), "MB", ours.server, theirs.server, None);
        print(&what("agent's memory"), "MB", ours.agent, theirs.agent, None);
        print(&what("creating the last of them"), "entries/s", ours.made, theirs.made, None);
        print(&what("another one to its SVID"), "ms", ours.rule, theirs.rule, Some(100.0));
    }
}

/// Makes entries until there are so many. They are all served by the agent, and are of users whom
/// nobody here is.
async fn grow(domain: &TrustDomain, before: usize, entries: usize) -> Seen {
    let start = Instant::now();
    match domain.engine() {
        SpiffeEngine::Holdfast(_) => by_api(domain, before..entries).await,
        SpiffeEngine::Spire(_) => by_files(domain, before..entries),
    }
    let made = (entries - before) as f64 / start.elapsed().as_secs_f64();
    let mut stream = Workload::new(&domain.socket()).stream().await.unwrap();
    stream.message().await.unwrap();
    // The agent has them all once it has one that came after them.
    rule(domain, &mut stream).await;
    settle(domain).await;
    let (server, agent) = (server_memory(domain), agent_memory(domain));
    let mut fastest = f64::INFINITY;
    for _ in 0..3 {
        fastest = fastest.min(rule(domain, &mut stream).await);
    }
    Seen { server: megabytes(server), agent: megabytes(agent), rule: fastest, made }
}

/// From the start of the command that makes an entry to its SVID on a stream. Then the entry goes.
async fn rule(domain: &TrustDomain, stream: &mut Streaming<X509svidResponse>) -> f64 {
    let start = Instant::now();
    let id = domain.register(&Registration::own("/rule"));
    while stream.message().await.unwrap().unwrap().svids.len() < 2 {}
    let took = milliseconds(start.elapsed());
    domain.unregister(&id);
    while stream.message().await.unwrap().unwrap().svids.len() > 1 {}
    took
}

/// Waits until both rest: until they take less than a twentieth of a processor.
async fn settle(domain: &TrustDomain) {
    let start = Instant::now();
    let mut last = Cpu::of(domain).0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Cpu::of(domain).0;
        if now - last < 0.05 {
            return;
        }
        last = now;
        assert!(start.elapsed() < PATIENCE, "they do not rest");
    }
}

fn place(number: usize) -> (String, String) {
    (format!("/ns/apps/sa/workload-{number}"), format!("uid:{}", 1_000_000 + number))
}

async fn by_api(domain: &TrustDomain, numbers: std::ops::Range<usize>) {
    let admin = holdfast_spiffe::remote::admin(&domain.server_socket());
    let (domain, parent) = (domain.id(""), domain.agent_id().to_owned());
    let mut tasks = JoinSet::new();
    for lane in 0..AT_ONCE.0 {
        let (mut admin, numbers) = (admin.clone(), numbers.clone());
        let (domain, parent) = (domain.clone(), parent.clone());
        tasks.spawn(async move {
            for number in numbers.skip(lane).step_by(AT_ONCE.0) {
                let (path, value) = place(number);
                let entry = Entry {
                    spiffe_id: format!("{domain}{path}"),
                    parent_id: parent.clone(),
                    selectors: vec![Selector { r#type: "unix".to_owned(), value }],
                    ..Entry::default()
                };
                admin.create_entry(entry).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn by_files(domain: &TrustDomain, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    let file = domain.path("entries.json");
    for chunk in numbers.chunks(AT_ONCE.1) {
        let entries = chunk.iter().map(|&number| {
            let (path, value) = place(number);
            json!({
                "spiffe_id": domain.id(&path),
                "parent_id": domain.agent_id(),
                "selectors": [{ "type": "unix", "value": value }],
            })
        });
        let entries = json!({ "entries": entries.collect::<Vec<_>>() });
        fs::write(&file, entries.to_string()).unwrap();
        let mut create: Command = domain.tool(&["entry", "create"]);
        let output = create.arg("-data").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Processor time of server and agent so far, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(pub(crate) f64);

impl Cpu {
    pub(crate) fn of(domain: &TrustDomain) -> Self {
        let both = [domain.server_process(), domain.agent_process()];
        let ticks = both.into_iter().flatten().map(|process| {
            let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
            let rest = text.rsplit_once(')').unwrap().1;
            let fields = rest.split_whitespace().skip(11).take(2);
            fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>()
        });
        // A tick is a hundredth of a second on every Linux.
        Self(ticks.sum::<f64>() / 100.0)
    }
}

pub(crate) fn agent_memory(domain: &TrustDomain) -> u64 {
    resident(domain.agent_process().unwrap())
}

fn server_memory(domain: &TrustDomain) -> u64 {
    resident(domain.server_process().unwrap())
}

/// Resident memory in bytes.
fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
