//! Killed at any moment of its first start, a platform comes up at the next.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use holdfast_types::{Random, SystemRandom};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Who, World, both, data, wait_for};

/// How often; `cargo xtask prove` asks for more.
fn kills() -> u32 {
    std::env::var("HOLDFAST_PROVE_BOOTS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn embedded() {
    for who in Who::all() {
        killed_while_starting(|| World::embedded(who));
    }
}

#[test]
fn managed() {
    for who in Who::all() {
        killed_while_starting(|| World::managed(who));
    }
}

/// Cuts the time that a start takes into n slices, and kills the supervisor at a random moment of
/// each, every time on a state directory of its own, and twice in a row on every other one.
fn killed_while_starting(world: impl Fn() -> World) {
    let started = Instant::now();
    let whole = world();
    whole.up();
    let takes = started.elapsed();
    drop(whole);
    for round in 1..=kills() {
        let world = world();
        let [byte] = SystemRandom.bytes();
        let slice = takes / kills();
        let after = slice * (round - 1) + slice * u32::from(byte) / 256;
        kill_after(&world, after);
        if round % 2 == 0 {
            kill_after(&world, after / 2);
        }
        world.up();
        assert!(world.status()["worst"].is_null(), "killed after {after:?}: {}", world.status());
        world.run("login", &[]);
        let read = ["read", "-format=json", "database/creds/backend-role"];
        let user = data(&world.succeed(&mut world.bao(&read)));
        let (name, password) =
            (user["username"].as_str().unwrap(), user["password"].as_str().unwrap());
        world.succeed(&mut world.psql(name, password, "SELECT count(*) FROM users"));
        assert!(world.run("apply", &[]).starts_with("0 changes"), "killed after {after:?}");
        world.run("down", &["--purge"]);
        world.assert_nothing_left();
    }
}

/// What a first start makes, in its order; each is a moment of its own.
const MADE: [&str; 17] = [
    "lock",
    "state.json",
    "SEAL",
    "root.sealed",
    "ca.pem",
    "supervisor.sealed",
    "SECRETS",
    "control.sock",
    "identity",
    "identity/workloads",
    "spiffe-server/spiffe.db",
    "SECRETS/spiffe-server/server.sock",
    "SECRETS/vault/cert.pem",
    "SECRETS/spiffe-agent/agent.sock",
    "SECRETS/postgres/cert.pem",
    "applied.json",
    "logs/probe.log",
];

/// One platform, whose start goes a step further each time before it is killed. Then it is started by
/// two at once, and by one who comes in between.
#[test]
fn killed_at_each_step() {
    for who in Who::all() {
        step_by_step(&World::embedded(who));
    }
}

fn step_by_step(world: &World) {
    let service = "[services.probe]\ncommand = [\"sleep\", \"86400\"]\n";
    world.write_config(&format!("{}{service}", world.config()));
    let mut killed = 0;
    for made in MADE {
        let is_there = || place(world, made).is_some_and(|path| path.symlink_metadata().is_ok());
        if is_there() {
            // It came with the one before.
            continue;
        }
        let mut supervisor = world.supervise(&[]);
        while !is_there() {
            assert_eq!(supervisor.try_wait().unwrap(), None, "before {made}");
            std::thread::sleep(Duration::from_micros(200));
        }
        supervisor.kill().unwrap();
        assert_eq!(supervisor.wait().unwrap().signal(), Some(9), "at {made}");
        killed += 1;
    }
    println!("killed {killed} times");

    let start = |_| {
        let mut up = world.up_command();
        up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let control = world.state().join("control.sock");
    fs::remove_file(&control).unwrap();
    let mut starts: Vec<_> = (0..2).map(start).collect();
    wait_for(|| control.exists());
    starts.push(start(2));
    let said = starts.into_iter().map(|start| {
        let output = start.wait_with_output().unwrap();
        (output.status.success(), both(&output))
    });
    let said: Vec<_> = said.collect();
    let late = |said: &str| said.contains("It was up already.");
    let won = said.iter().filter(|(succeeded, said)| *succeeded && !late(said)).count();
    assert_eq!(won, 1, "{said:#?}");
    for (succeeded, said) in &said {
        let is_told = said.contains("another supervisor has ")
            || said.contains("another `holdfast up` is at work");
        assert!(*succeeded || is_told && said.contains("see `holdfast status`"), "{said}");
    }
    assert!(world.status()["worst"].is_null(), "{}", world.status());
    assert!(world.run("apply", &[]).starts_with("0 changes"));
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// Where something is that a start makes, as soon as that is known.
fn place(world: &World, made: &str) -> Option<PathBuf> {
    let Some(rest) = made.strip_prefix("SECRETS") else {
        return Some(if made == "SEAL" { world.seal_key() } else { world.state().join(made) });
    };
    let record = fs::read(world.state().join("state.json")).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
    Some(PathBuf::from(record["secrets"].as_str()?).join(rest.trim_start_matches('/')))
}

fn kill_after(world: &World, after: Duration) {
    let mut up = world.up_command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + after;
    // The supervisor, or the command that has not yet started it, whichever is there by then.
    while Instant::now() < deadline && up.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    match world.supervisor() {
        Some(pid) => kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap(),
        None => up.kill().unwrap(),
    }
    let _ = up.wait();
}
