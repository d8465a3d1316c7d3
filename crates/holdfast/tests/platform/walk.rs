//! The main job from end to end: a platform comes up, an operator logs in, stock clients work.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::Value;

use crate::database_user::{CREDENTIALS, DatabaseUser};
use crate::world::{Who, World, data, files_with, uid_of, wait_for};

/// Something that stands in no program or log by chance.
const CANARY: &str = "canary-7f3a91c2e4";

/// What runs besides services, in the order of its start.
const PARTS: [&str; 4] = ["spiffe-server", "spiffe-agent", "vault", "postgres"];

#[test]
fn managed() {
    for who in Who::all() {
        walk(&World::managed(who), who);
    }
}

#[test]
fn embedded() {
    for who in Who::all() {
        walk(&World::embedded(who), who);
    }
}

#[test]
fn an_operators_seal_outlives_a_restart() {
    let world = World::embedded(Who::Caller);
    // In this world the operator may: who holds the policy file decides.
    let policy = world.platform().join("policies/operator.hcl");
    let mut text = std::fs::read_to_string(&policy).unwrap();
    text.push_str("path \"sys/seal\" {\n  capabilities = [\"update\", \"sudo\"]\n}\n");
    std::fs::write(&policy, text).unwrap();
    world.up();
    world.run("login", &[]);
    world.succeed(&mut world.bao(&["kv", "put", "secret/hello", "word=open"]));
    world.succeed(&mut world.bao(&["operator", "seal"]));
    let worst = || world.status()["worst"]["fact"].clone();
    assert_eq!(worst(), "the secrets server is sealed");
    world.run("down", &[]);
    world.fail(&mut world.up_command());
    assert_eq!(worst(), "the secrets server is sealed");
    world.run("unseal", &[]);
    assert!(worst().is_null());
    let word = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/hello"]));
    assert_eq!(word, "open");
}

#[test]
fn services_are_started_confined_when_what_they_need_is_ready() {
    for who in Who::all() {
        let world = World::managed(who);
        let script = "\
            touch \"$STATE_DIRECTORY/here\" && echo wrote its own\n\
            cat holdfast.toml >/dev/null && echo read the platform\n\
            cat \"$SEAL\" 2>/dev/null || echo no seal key\n\
            touch /tmp/service-was-here-$$ 2>/dev/null || echo no other place\n\
            setsid sleep 86399 &\n\
            exec sleep 86400\n";
        std::fs::write(world.platform().join("service.sh"), script).unwrap();
        let service = format!(
            "[services.probe]\ncommand = [\"sh\", \"service.sh\"]\nneeds = [\"vault\", \"postgres\"]\n\
             [services.probe.environment]\nSEAL = \"{}\"\nVAULT = \"${{vault.address}}\"\n",
            world.seal_key().display()
        );
        world.write_config(&format!("{}{service}", world.config()));
        world.up();
        let status = world.status();
        assert_eq!(status["parts"][4]["name"], "probe");
        let log = || world.run("logs", &["probe"]);
        wait_for(|| log().lines().count() >= 4);
        let said: Vec<String> =
            log().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(said, ["wrote its own", "read the platform", "no seal key", "no other place"]);

        // Killed, it comes back.
        let pid = || world.status()["parts"][4]["pid"].as_i64();
        let first = pid();
        kill(Pid::from_raw(first.unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
        wait_for(|| pid().is_some_and(|pid| Some(pid) != first));
        assert_eq!(world.status()["parts"][4]["restarts"], 1);
        world.run("down", &["--purge"]);
        world.assert_nothing_left();
    }
}

#[test]
fn services_start_once_a_directory_that_could_not_be_applied_is_mended() {
    let world = World::embedded(Who::Caller);
    let service = "[services.probe]\ncommand = [\"sleep\", \"86400\"]\n";
    world.write_config(&format!("{}{service}", world.config()));
    let broken = world.platform().join("vault/kv/broken.json");
    std::fs::create_dir_all(broken.parent().unwrap()).unwrap();
    std::fs::write(&broken, "[]").unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("vault/kv/broken.json: not a JSON object"), "{said}");
    let names = || -> Vec<Value> {
        let status = world.status();
        status["parts"].as_array().unwrap().iter().map(|part| part["name"].clone()).collect()
    };
    assert_eq!(names(), PARTS, "no service on half a platform");
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("the platform directory is not applied"), "a second up: {said}");
    world.fail(&mut world.verb("apply", &[]));

    std::fs::remove_file(&broken).unwrap();
    world.run("apply", &[]);
    assert_eq!(names(), [&PARTS[..], &["probe"]].concat());
    assert!(world.status()["worst"].is_null());
}

fn walk(world: &World, who: Who) {
    world.up();
    let status = world.status();
    assert_eq!((&status["ready"], &status["worst"]), (&true.into(), &Value::Null));
    let parts = status["parts"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, PARTS);
    if who == Who::Caller && Uid::effective().is_root() {
        let uids: Vec<_> = parts
            .iter()
            .map(|part| uid_of(i32::try_from(part["pid"].as_i64().unwrap()).unwrap()))
            .collect();
        // The agent looks at processes of all users.
        assert_eq!(uids[1], 0, "{uids:?}");
        let own = [uids[0], uids[2], uids[3]];
        assert!(!own.contains(&0) && own[0] != own[1] && own[2] != own[0] && own[2] != own[1]);
    }

    // An operator's way in, with the stock client.
    world.run("login", &[]);
    world.succeed(&mut world.bao(&["kv", "put", "secret/hello", &format!("word={CANARY}")]));
    let token = data(&world.succeed(&mut world.bao(&["token", "lookup", "-format=json"])));
    assert_eq!(token["policies"], serde_json::json!(["default", "operator"]));
    let id = token["meta"]["spiffe_id"].as_str().unwrap();
    assert!(id.starts_with("spiffe://demo.local/holdfast/operator/"), "{token}");
    assert!((28_700..=28_800).contains(&token["ttl"].as_i64().unwrap()), "eight hours");
    world.fail(&mut world.bao(&["policy", "delete", "operator"]));

    // A short-lived database user.
    let user = DatabaseUser::read(&mut world.bao(&CREDENTIALS), world);
    user.write_as(world);
    let refused = world.fail(&mut user.psql(world, "CREATE TABLE mine (id int)"));
    assert!(refused.contains("permission denied"), "{refused}");
    let mut plain = user.psql(world, "SELECT 1");
    let refused = world.fail(plain.env("PGSSLMODE", "disable"));
    assert!(refused.contains("pg_hba.conf rejects"), "{refused}");
    let refused = world.fail(&mut world.psql("holdfast_appdb", "guess", "SELECT 1"));
    assert!(refused.contains("password authentication failed"), "{refused}");
    let leases = world.status()["leases"].clone();
    assert_eq!((&leases[0]["lease"], &leases[1]), (&user.lease.as_str().into(), &Value::Null));
    world.succeed(&mut world.bao(&["lease", "lookup", &user.lease]));

    // Nothing to do twice.
    assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");
    assert!(world.run("plan", &[]).starts_with("0 changes"), "a plan");

    // A part that dies is started again.
    let postgres = world.status()["parts"][3]["pid"].clone();
    world.run("restart", &["postgres"]);
    assert_ne!(world.status()["parts"][3]["pid"], postgres);
    world.succeed(&mut user.psql(world, "SELECT 1"));

    // Ended before its time.
    user.revoke(world, &|arguments| world.bao(arguments));

    // What was written outlives a stop, and is nowhere to be read.
    world.run("down", &[]);
    assert_eq!(world.processes(), Vec::<i32>::new());
    let status = world.status();
    assert_eq!(status["worst"]["fact"], "the platform is down");
    let parts = status["parts"].as_array().unwrap().iter();
    let parts: Vec<_> = parts.map(|part| (part["name"].clone(), part["state"].clone())).collect();
    assert_eq!(parts, PARTS.map(|name| (name.into(), "stopped".into())));
    assert_eq!(files_with(&world.state(), CANARY.as_bytes()), Vec::<PathBuf>::new());
    world.up();
    let word = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/hello"]));
    assert_eq!(word, CANARY);
    DatabaseUser::read(&mut world.bao(&CREDENTIALS), world).write_as(world);

    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}
