//! The main job from end to end: a platform comes up, an operator logs in, stock clients work.

use std::path::PathBuf;

use nix::unistd::Uid;

use crate::world::{Who, World, data, files_with, uid_of};

/// Something that stands in no program or log by chance.
const CANARY: &str = "canary-7f3a91c2e4";

#[test]
fn managed() {
    for who in Who::all() {
        walk(&World::managed(who), who);
    }
}

fn walk(world: &World, who: Who) {
    world.up();
    let status = world.status();
    assert_eq!((&status["ready"], &status["worst"]), (&true.into(), &serde_json::Value::Null));
    let parts = status["parts"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["vault", "postgres"]);
    if who == Who::Caller && Uid::effective().is_root() {
        let uids: Vec<_> = parts
            .iter()
            .map(|part| uid_of(i32::try_from(part["pid"].as_i64().unwrap()).unwrap()))
            .collect();
        assert!(uids[0] != 0 && uids[1] != 0 && uids[0] != uids[1], "a uid per part: {uids:?}");
    }

    // An operator's way in, with the stock client.
    world.run("login", &[]);
    world.succeed(&mut world.bao(&["kv", "put", "secret/hello", &format!("word={CANARY}")]));
    let token = data(&world.succeed(&mut world.bao(&["token", "lookup", "-format=json"])));
    assert_eq!(token["policies"], serde_json::json!(["default", "operator"]));
    assert!((28_700..=28_800).contains(&token["ttl"].as_i64().unwrap()), "eight hours");
    world.fail(&mut world.bao(&["policy", "delete", "operator"]));

    // A short-lived database user.
    let read = ["read", "-format=json", "database/creds/backend-role"];
    let user = data(&world.succeed(&mut world.bao(&read)));
    let (name, password) = (user["username"].as_str().unwrap(), user["password"].as_str().unwrap());
    assert!(name.starts_with("v-token-backend-"), "{name}");
    let insert =
        "INSERT INTO users (username, password_hash) VALUES ('amy', 'x') RETURNING username";
    let printed = world.succeed(&mut world.psql(name, password, insert));
    assert_eq!(printed.lines().next(), Some("amy"));
    let refused = world.fail(&mut world.psql(name, password, "CREATE TABLE mine (id int)"));
    assert!(refused.contains("permission denied"), "{refused}");
    let mut plain = world.psql(name, password, "SELECT 1");
    let refused = world.fail(plain.env("PGSSLMODE", "disable"));
    assert!(refused.contains("pg_hba.conf rejects"), "{refused}");
    let refused = world.fail(&mut world.psql("holdfast_appdb", "guess", "SELECT 1"));
    assert!(refused.contains("password authentication failed"), "{refused}");
    world.succeed(&mut world.bao(&["lease", "lookup", &lease_of(world, name)]));

    // Nothing to do twice.
    assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");
    assert!(world.run("plan", &[]).starts_with("0 changes"), "a plan");

    // A part that dies is started again.
    let postgres = world.status()["parts"][1]["pid"].clone();
    world.run("restart", &["postgres"]);
    assert_ne!(world.status()["parts"][1]["pid"], postgres);
    world.succeed(&mut world.psql(name, password, "SELECT 1"));

    // What was written outlives a stop, and is nowhere to be read.
    world.run("down", &[]);
    assert_eq!(world.processes(), Vec::<i32>::new());
    let status = world.status();
    assert_eq!(status["worst"]["fact"], "the platform is down");
    assert_eq!(files_with(&world.state(), CANARY.as_bytes()), Vec::<PathBuf>::new());
    world.up();
    let word = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/hello"]));
    assert_eq!(word, CANARY);
    world.succeed(&mut world.bao(&read));

    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// The lease that `user` came with: the only one there is.
fn lease_of(world: &World, user: &str) -> String {
    let status = world.status();
    let leases = status["leases"].as_array().unwrap();
    assert_eq!(leases.len(), 1, "{user}: {leases:?}");
    leases[0]["lease"].as_str().unwrap().to_owned()
}
