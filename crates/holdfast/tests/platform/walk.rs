//! The main job from end to end: a platform comes up, an operator logs in, stock clients work.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_testkit::{Stock, StockServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::Value;

use crate::world::{Who, World, both, data, files_with, uid_of};

/// Something that stands in no program or log by chance.
const CANARY: &str = "canary-7f3a91c2e4";

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
fn external() {
    for who in Who::all() {
        let stock = Stock::install();
        let server = StockServer::start(&stock);
        let vault = format!("engine = \"external\"\naddress = \"{}\"", server.address());
        let world = World::new(who, &vault);
        let operator = |arguments: &[&str]| {
            let mut command = world.command(world.path("bin/bao"));
            command.env("BAO_ADDR", server.address()).env("BAO_TOKEN", StockServer::ROOT_TOKEN);
            command.args(arguments);
            command
        };
        // What others have there, and a mount less that development mode makes by itself.
        world.succeed(&mut operator(&["secrets", "disable", "secret"]));
        world.succeed(&mut operator(&["secrets", "enable", "-path=theirs", "kv"]));
        world.succeed(&mut operator(&["kv", "put", "theirs/a", "b=c"]));
        let policy = world.platform().join("policies/backend-policy.hcl");
        let policy = policy.display().to_string();
        world.succeed(&mut operator(&["policy", "write", "theirs", &policy]));
        let before = world.succeed(&mut operator(&["policy", "read", "theirs"]));

        let refused = world.fail(&mut world.up_command());
        assert!(refused.contains("no token for the external secrets server"), "{refused}");
        world.run("down", &[]);
        world.succeed(world.up_command().env("VAULT_TOKEN", StockServer::ROOT_TOKEN));
        let status = world.status();
        assert_eq!(status["parts"][0]["engine"], "external");
        assert!(status["worst"].is_null(), "{status}");
        let user = DatabaseUser::read(&mut operator(&CREDENTIALS), &world);
        user.write_as(&world);
        user.revoke(&world, &operator);
        assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");

        world.run("down", &["--purge"]);
        world.assert_nothing_left();
        assert_eq!(world.succeed(&mut operator(&["policy", "read", "theirs"])), before);
        world.succeed(&mut operator(&["kv", "get", "theirs/a"]));
    }
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
        assert_eq!(status["parts"][2]["name"], "probe");
        let log = || world.run("logs", &["probe"]);
        wait_for(|| log().lines().count() >= 4);
        let said: Vec<String> =
            log().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(said, ["wrote its own", "read the platform", "no seal key", "no other place"]);

        // Killed, it comes back.
        let pid = || world.status()["parts"][2]["pid"].as_i64();
        let first = pid();
        kill(Pid::from_raw(first.unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
        wait_for(|| pid().is_some_and(|pid| Some(pid) != first));
        assert_eq!(world.status()["parts"][2]["restarts"], 1);
        world.run("down", &["--purge"]);
        world.assert_nothing_left();
    }
}

const CREDENTIALS: [&str; 3] = ["read", "-format=json", "database/creds/backend-role"];

/// A database user that lives as long as its lease.
struct DatabaseUser {
    name: String,
    password: String,
    lease: String,
}

impl DatabaseUser {
    /// Has one made by [`CREDENTIALS`].
    fn read(read: &mut Command, world: &World) -> Self {
        let reply: Value = serde_json::from_str(&world.succeed(read)).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let user = Self {
            name: text(&reply["data"]["username"]),
            password: text(&reply["data"]["password"]),
            lease: text(&reply["lease_id"]),
        };
        assert!(user.name.starts_with("v-token-backend-"), "{}", user.name);
        user
    }

    fn psql(&self, world: &World, sql: &str) -> Command {
        world.psql(&self.name, &self.password, sql)
    }

    fn write_as(&self, world: &World) {
        let insert = format!(
            "INSERT INTO users (username, password_hash) VALUES ('{}', 'x') RETURNING 1",
            self.name
        );
        let printed = world.succeed(&mut self.psql(world, &insert));
        assert_eq!(printed.lines().next(), Some("1"));
    }

    /// Ends it before its time: its open session is ended, its password opens nothing, its role is
    /// gone. Another user of the same role, made by the same `client`, looks and goes on.
    fn revoke(&self, world: &World, client: &dyn Fn(&[&str]) -> Command) {
        let witness = Self::read(&mut client(&CREDENTIALS), world);
        let count = |sql: &str| world.succeed(&mut witness.psql(world, sql)).trim().to_owned();
        let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", self.name);
        let sessions =
            format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", self.name);
        assert_eq!(count(&roles), "1");
        let mut session = self.psql(world, "SELECT pg_sleep(600)");
        let session = session.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(|| count(&sessions) == "1");

        world.succeed(&mut client(&["lease", "revoke", &self.lease]));
        wait_for(|| count(&roles) == "0");
        let ended = session.wait_with_output().unwrap();
        assert!(both(&ended).contains("terminating connection"), "{}", both(&ended));
        // pg_hba.conf lets in who is in the group, and nobody is any more.
        let refused = world.fail(&mut self.psql(world, "SELECT 1"));
        assert!(refused.contains("pg_hba.conf rejects"), "{refused}");
        world.fail(&mut client(&["lease", "lookup", &self.lease]));
        witness.write_as(world);
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to that within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn walk(world: &World, who: Who) {
    world.up();
    let status = world.status();
    assert_eq!((&status["ready"], &status["worst"]), (&true.into(), &Value::Null));
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
    let postgres = world.status()["parts"][1]["pid"].clone();
    world.run("restart", &["postgres"]);
    assert_ne!(world.status()["parts"][1]["pid"], postgres);
    world.succeed(&mut user.psql(world, "SELECT 1"));

    // Ended before its time.
    user.revoke(world, &|arguments| world.bao(arguments));

    // What was written outlives a stop, and is nowhere to be read.
    world.run("down", &[]);
    assert_eq!(world.processes(), Vec::<i32>::new());
    let status = world.status();
    assert_eq!(status["worst"]["fact"], "the platform is down");
    assert_eq!(files_with(&world.state(), CANARY.as_bytes()), Vec::<PathBuf>::new());
    world.up();
    let word = world.succeed(&mut world.bao(&["kv", "get", "-field=word", "secret/hello"]));
    assert_eq!(word, CANARY);
    DatabaseUser::read(&mut world.bao(&CREDENTIALS), world).write_as(world);

    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}
