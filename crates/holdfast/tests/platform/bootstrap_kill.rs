//! Killed at any moment of its first start, a platform comes up at the next.

use std::process::Stdio;
use std::time::{Duration, Instant};

use holdfast_types::{Random, SystemRandom};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Who, World, data};

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
