//! The parts of `bench vault`, one function each.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::engine::{Binaries, Engine, Server, Started};
use super::load::{self, Round};
use super::process::Memory;
use super::report::{Figure, Goal, Progress};
use super::workload::{Client, KEYS, VALUE, Workload};
use super::{Part, VaultArgs};

const ENGINES: [Engine; 2] = [Engine::Holdfast, Engine::OpenBao];
/// After this long without a request a server is idle.
const REST: Duration = Duration::from_secs(2);
/// Connections that fill a server: the more wait together, the more share one flush of the disk.
const FILLING: usize = 64;
/// Starts of which the median is given.
const STARTS: usize = 5;

/// Measures all parts that were asked for.
pub(super) fn measure(args: &VaultArgs, binaries: &Binaries) -> Result<Vec<Figure>> {
    let progress = Progress::new();
    let mut figures = under_load(args, binaries, &progress)?;
    if args.wants(Part::Memory) {
        figures.extend(memory(args, binaries, &progress)?);
    }
    if args.wants(Part::Start) {
        figures.extend(start(binaries, &progress)?);
    }
    if args.wants(Part::Leases) {
        figures.extend(leases(args, binaries, &progress)?);
    }
    if args.wants(Part::Keys) {
        figures.extend(keys(args, binaries, &progress)?);
    }
    Ok(figures)
}

/// A server with everything in it that the workloads need.
fn ready(engine: Engine, binaries: &Binaries, progress: &Progress) -> Result<(Server, Client)> {
    progress.say(&format!("{}: set up", engine.name()));
    let server = Server::new(engine, binaries)?;
    let client = Client::set_up(&server).with_context(|| format!("set up {}", engine.name()))?;
    client.write_keys(&server).with_context(|| format!("write keys to {}", engine.name()))?;
    Ok((server, client))
}

/// Rate, latency and processor time of each workload.
fn under_load(args: &VaultArgs, binaries: &Binaries, progress: &Progress) -> Result<Vec<Figure>> {
    let part = |workload| match workload {
        Workload::Read => Part::Read,
        Workload::LookupSelf => Part::LookupSelf,
        Workload::Login => Part::Login,
        Workload::Write => Part::Write,
    };
    let workloads = Workload::ALL.into_iter().filter(|workload| args.wants(part(*workload)));
    let kinds: Vec<_> = workloads.flat_map(|load| [(load, false), (load, true)]).collect();
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let servers = ENGINES.map(|engine| ready(engine, binaries, progress));
    let [ours, theirs] = servers;
    let servers = [ours?, theirs?];
    // By kind, then by server.
    let mut rounds = vec![[const { Vec::new() }; 2]; kinds.len()];
    for round in 1..=args.rounds {
        for ((workload, tls), rounds) in kinds.iter().zip(&mut rounds) {
            for ((server, client), rounds) in servers.iter().zip(rounds) {
                let (engine, name) = (server.engine().name(), full_name(*workload, *tls));
                progress.say(&format!("round {round} of {}: {name}, {engine}", args.rounds));
                let render = |number, buffer: &mut Vec<u8>| {
                    client.request(*workload, KEYS, number, buffer);
                };
                let done = load::run(&server.target(*tls), args.duration(), &render);
                rounds.push(done.with_context(|| format!("{name} on {engine}"))?);
            }
        }
    }
    let kinds = kinds.iter().zip(&rounds);
    Ok(kinds.flat_map(|((workload, tls), rounds)| load_figures(*workload, *tls, rounds)).collect())
}

fn full_name(workload: Workload, tls: bool) -> String {
    let name = workload.name();
    if tls { format!("{name}, TLS") } else { name.to_owned() }
}

fn load_figures(workload: Workload, tls: bool, [ours, theirs]: &[Vec<Round>; 2]) -> [Figure; 4] {
    let name = full_name(workload, tls);
    let (rate, p99) = workload.goal();
    let figure = |unit, value: fn(&Round) -> f64, goal| {
        let of = |rounds: &[Round]| median(rounds.iter().map(value).collect());
        Figure::new(name.as_str(), unit, of(ours), Some(of(theirs)), goal)
    };
    [
        figure("requests/s", |round| round.rate, rate.map(Goal::TimesTheirs)),
        figure("p50 ms", |round| round.p50, None),
        figure("p99 ms", |round| round.p99, p99.map(Goal::ShareOfTheirs)),
        figure("CPU us/request", |round| round.cpu, None),
    ]
}

/// Resident memory: idle after a start, and after each workload has run once.
fn memory(args: &VaultArgs, binaries: &Binaries, progress: &Progress) -> Result<Vec<Figure>> {
    let mut measured = Vec::new();
    for engine in ENGINES {
        let (mut server, client) = ready(engine, binaries, progress)?;
        server.stop()?;
        server.start()?;
        sleep(REST);
        let idle = server.process().memory()?;
        for workload in Workload::ALL {
            for tls in [false, true] {
                let name = full_name(workload, tls);
                progress.say(&format!("memory of {}: {name}", engine.name()));
                let render = |number, buffer: &mut Vec<u8>| {
                    client.request(workload, KEYS, number, buffer);
                };
                load::run(&server.target(tls), args.duration(), &render)?;
            }
        }
        sleep(REST);
        measured.push((idle, server.process().memory()?));
    }
    let figure = |what: &str, unit, most: Option<f64>, value: &dyn Fn(&(Memory, Memory)) -> u64| {
        let mut megabytes = measured.iter().map(|both| value(both) as f64 / f64::from(1 << 20));
        let ours = megabytes.next().unwrap_or_default();
        Figure::new(what, unit, ours, megabytes.next(), most.map(Goal::AtMost))
    };
    Ok(vec![
        figure("memory, idle", "MB resident", Some(20.0), &|(idle, _)| idle.rss),
        figure("memory, idle", "MB proportional", None, &|(idle, _)| idle.pss.unwrap_or_default()),
        figure("memory, after load", "MB resident", Some(50.0), &|(_, after)| after.rss),
        figure("memory, after load", "MB proportional", None, &|(_, after)| {
            after.pss.unwrap_or_default()
        }),
    ])
}

/// From starting an initialised server, which unseals itself, to healthy.
fn start(binaries: &Binaries, progress: &Progress) -> Result<Vec<Figure>> {
    let mut medians = Vec::new();
    for engine in ENGINES {
        let (mut server, _) = ready(engine, binaries, progress)?;
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            progress.say(&format!("start of {}", engine.name()));
            server.stop()?;
            starts.push(server.start()?);
        }
        let of = |value: fn(&Started) -> Duration| {
            median(starts.iter().map(|start| milliseconds(value(start))).collect())
        };
        medians.push((of(|start| start.elapsed), of(|start| start.cpu)));
    }
    let [ours, theirs] = medians.as_slice() else { return Ok(Vec::new()) };
    let goal = Some(Goal::AtMost(100.0));
    Ok(vec![
        Figure::new("start", "ms", ours.0, Some(theirs.0), goal),
        Figure::new("start", "CPU ms", ours.1, Some(theirs.1), None),
    ])
}

/// From starting to healthy with many leases. A login makes one, with its token.
fn leases(args: &VaultArgs, binaries: &Binaries, progress: &Progress) -> Result<Vec<Figure>> {
    let (mut server, client) = ready(Engine::Holdfast, binaries, progress)?;
    progress.say(&format!("{} leases", args.leases));
    let made = load::all(&server.target(false), FILLING, args.leases, &|number, buffer| {
        client.request(Workload::Login, KEYS, number, buffer);
    })?;
    progress.say("start after a kill");
    server.kill()?;
    let killed = server.start()?;
    progress.say("start after a clean stop");
    let stopping = server.stop()?;
    let clean = server.start()?;
    let figure = |what: &str, unit, time, goal: Option<f64>| {
        let what = format!("{} leases: {what}", args.leases);
        Figure::new(what, unit, milliseconds(time), None, goal.map(Goal::AtMost))
    };
    Ok(vec![
        figure("making them", "ms", made, None),
        figure("start after kill -9", "ms", killed.elapsed, Some(1000.0)),
        figure("start after kill -9", "CPU ms", killed.cpu, None),
        figure("clean stop", "ms", stopping, None),
        figure("start after it", "ms", clean.elapsed, Some(1000.0)),
        figure("start after it", "CPU ms", clean.cpu, None),
    ])
}

/// The cost of a read, over more and more keys. They are written past the API, thousands in a
/// commit, by the engine itself (`crates/engines/examples/fill_kv.rs`).
fn keys(args: &VaultArgs, binaries: &Binaries, progress: &Progress) -> Result<Vec<Figure>> {
    let (mut server, client) = ready(Engine::Holdfast, binaries, progress)?;
    let mount = server.call("GET", "sys/mounts/secret", &Value::Null)?;
    let mount = mount.pointer("/data/uuid").and_then(Value::as_str).context("a mount's uuid")?;
    let mut figures = Vec::new();
    let mut there = KEYS;
    for keys in args.keys.iter().copied() {
        ensure!(keys >= there, "--keys goes up from {KEYS}");
        if keys > there {
            progress.say(&format!("fill the store up to {keys} keys"));
            server.stop()?;
            fill(server.folder(), mount, there, keys)?;
            let time = milliseconds(server.start()?.elapsed);
            figures.push(Figure::new(format!("{keys} keys: start"), "ms", time, None, None));
            there = keys;
        }
        progress.say(&format!("read from {keys} keys"));
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            let render = |number, buffer: &mut Vec<u8>| {
                client.request(Workload::Read, keys, number, buffer);
            };
            rounds.push(load::run(&server.target(false), args.duration(), &render)?);
        }
        let figure = |unit, value: fn(&Round) -> f64| {
            let of_all = median(rounds.iter().map(value).collect());
            Figure::new(format!("{keys} keys: KV read"), unit, of_all, None, None)
        };
        figures.push(figure("requests/s", |round| round.rate));
        figures.push(figure("p99 ms", |round| round.p99));
        figures.push(figure("CPU us/request", |round| round.cpu));
        let memory = server.process().memory()?.rss as f64 / f64::from(1 << 20);
        let what = format!("{keys} keys: memory");
        figures.push(Figure::new(what, "MB resident", memory, None, None));
    }
    Ok(figures)
}

fn fill(folder: &Path, mount: &str, from: usize, to: usize) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--locked", "--package=holdfast-engines"])
        .args(["--example=fill_kv", "--"])
        .arg(folder.join("store/vault.db"))
        .arg(folder.join("seal.key"))
        .args([mount, "bench/", &from.to_string(), &to.to_string(), VALUE])
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the store could not be filled");
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The middle one; of an even number the higher of both.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
