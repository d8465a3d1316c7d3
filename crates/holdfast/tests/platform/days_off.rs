//! A platform that was off for very long, and one whose clock was set back.
//!
//! The first start is the one at another time: its parts, and the commands that talk to them, live by a
//! clock that is moved. The second one, which has to get along with what they left, is as users have it,
//! and is looked at by stock clients. PostgreSQL has the system's time in both.

use std::fs;
use std::thread;
use std::time::Duration;

use holdfast_types::{Clock as _, SystemClock, Timestamp};
use serde_json::Value;

use crate::database_user::{CREDENTIALS, DatabaseUser};
use crate::delivery::{add_service, file};
use crate::renewal::{is_valid_at, served};
use crate::world::{Who, World, both, wait_for};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const HALF_A_DAY: i64 = 12 * HOUR;
const TEMPLATES: &str = "templates = [\"templates/app.env.ctmpl\"]\n";

/// At the times of the three, all leases, tokens, logins, SVIDs and the authorities that signed them are
/// over; all of them and the platform root, too; none is, but the authorities and the root are not valid yet.
#[test]
fn the_next_start_heals_what_another_time_left() {
    thread::scope(|scope| {
        for (since, renewed) in [(-400 * DAY, false), (-11 * 365 * DAY, true), (HOUR, true)] {
            scope.spawn(move || heals(since, renewed));
        }
    });
}

fn heals(since: i64, renewed: bool) {
    let world = World::embedded(Who::Caller);
    add_service(&world, "");
    // What confines agents keeps them from the library with the clock: at that time there is none.
    let config = world.config();
    world.write_config(&config.replace(TEMPLATES, "policies = [\"probe\"]\n"));
    world.live(since);
    world.up();
    world.run("login", &[]);
    let ask = |arguments: &[&str]| {
        let mut command = world.command(world.path("bin/holdfast"));
        world.succeed(command.arg("vault").args(arguments).envs(world.environment()))
    };
    ask(&["kv", "put", "secret/probe", "word=kept"]);
    let reply: Value = serde_json::from_str(&ask(&CREDENTIALS)).unwrap();
    let left = reply["data"]["username"].as_str().unwrap().to_owned();
    let ends = certificates(&world);
    let now = SystemClock.now();
    assert_eq!(ends.iter().all(|end| *end < now), renewed && since < 0, "{ends:?}");
    assert_eq!(ends.iter().any(|end| *end < now), since < 0, "{ends:?}");
    let token = fs::read_to_string(world.home().join(".vault-token")).unwrap();
    world.run("down", &[]);

    world.live(0);
    world.write_config(&config);
    let started = world.up_command().output().unwrap();
    let said = both(&started);
    assert!(
        started.status.success() && said.contains("certificate is renewed until") == renewed,
        "{said}"
    );
    wait_for(|| world.status()["worst"].is_null());
    let text = fs::read_to_string(file(&world)).unwrap();
    assert!(text.starts_with("WORD=kept\nUSER=v-token-backend-"), "{text}");
    assert!(!text.contains(&left), "the service has a credential of its own");
    let now = SystemClock.now();
    assert!(certificates(&world).iter().all(|end| *end > now));
    for part in ["vault", "postgres"] {
        served(&world, part);
    }
    world.run("login", &[]);
    let kept = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/probe"]));
    assert_eq!(kept, "kept");
    let user = DatabaseUser::read(&mut world.bao(&CREDENTIALS), &world);
    user.write_as(&world);
    if since < 0 {
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{left}'");
        wait_for(|| world.succeed(&mut user.psql(&world, &sql)).trim() == "0");
        let mut old = world.bao(&["token", "lookup"]);
        let refused = world.fail(old.env("BAO_TOKEN", token.trim()));
        assert!(refused.contains("Code: 403"), "{refused}");
    }
    let log = fs::read_to_string(world.state().join("logs/supervisor.log")).unwrap();
    assert!(!log.contains("sealed key"), "the supervisor's SVID was good at once: {log}");
    assert!(world.run("apply", &[]).starts_with("0 changes"));
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// As if the machine slept for half a day, and then somebody set its clock right, which had been wrong all
/// the time. Nobody starts anything anew.
#[test]
fn a_running_platform_follows_the_clock_wherever_it_jumps() {
    let world = World::embedded(Who::Caller);
    add_service(&world, "");
    let config = world.config();
    world.write_config(&config.replace(TEMPLATES, "policies = [\"probe\"]\n"));
    world.live(1);
    // They are looked at each twenty seconds.
    let mut supervisor = world.supervise(&["--leaf-lifetime", "1200"]);
    wait_for(|| world.verb("status", &[]).output().unwrap().status.success());
    world.run("login", &[]);
    let ask = |arguments: &[&str]| {
        let mut command = world.command(world.path("bin/holdfast"));
        world.succeed(command.arg("vault").args(arguments).envs(world.environment()))
    };
    ask(&["kv", "put", "secret/probe", "word=kept"]);
    let left = DatabaseUser::read(&mut world.bao(&CREDENTIALS), &world);
    let token = fs::read_to_string(world.home().join(".vault-token")).unwrap();
    let is_valid = |time| ["vault", "postgres"].iter().all(|part| is_valid_at(&world, part, time));

    world.jump(HALF_A_DAY);
    let then = || SystemClock.now() + Duration::from_secs(HALF_A_DAY.unsigned_abs());
    wait_for(|| is_valid(then()));
    wait_for(|| world.status()["worst"].is_null());
    world.run("login", &[]);
    assert_eq!(ask(&["kv", "get", "-field=word", "secret/probe"]).trim(), "kept");
    ask(&CREDENTIALS);

    // Stock clients have the system's time.
    world.jump(0);
    assert!(!is_valid(SystemClock.now()));
    wait_for(|| is_valid(SystemClock.now()));
    wait_for(|| world.status()["worst"].is_null());
    world.run("login", &[]);
    let kept = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/probe"]));
    assert_eq!(kept, "kept");
    let user = DatabaseUser::read(&mut world.bao(&CREDENTIALS), &world);
    user.write_as(&world);
    let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", left.name);
    wait_for(|| world.succeed(&mut user.psql(&world, &sql)).trim() == "0");
    let mut old = world.bao(&["token", "lookup"]);
    let refused = world.fail(old.env("BAO_TOKEN", token.trim()));
    assert!(refused.contains("Code: 403"), "{refused}");
    world.run("down", &["--purge"]);
    supervisor.wait().unwrap();
    world.assert_nothing_left();
}

/// When each ends, the platform root among them.
fn certificates(world: &World) -> Vec<Timestamp> {
    let status = world.status();
    let found = status["certificates"].as_array().unwrap().iter();
    found.map(|one| one["expires"].as_str().unwrap().parse().unwrap()).collect()
}
