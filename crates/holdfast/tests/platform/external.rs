//! On a secrets server of others: nothing of theirs is touched, and little is needed.

use std::fs;
use std::process::Command;

use holdfast_testkit::{Stock, StockServer};

use crate::database_user::{CREDENTIALS, DatabaseUser};
use crate::delivery::add_service;
use crate::world::{Who, World, wait_for};

/// A platform, and the secrets server that others run.
pub(crate) struct External {
    pub(crate) server: StockServer,
    pub(crate) world: World,
}

impl External {
    /// Others have a mount and a policy there. The mount that development mode makes by itself is
    /// gone: a real server has none.
    pub(crate) fn new(who: Who) -> Self {
        let server = StockServer::start(&Stock::install());
        let vault = format!("engine = \"external\"\naddress = \"{}\"", server.address());
        let external = Self { world: World::new(who, &vault), server };
        external.succeed(&["secrets", "disable", "secret"]);
        external.succeed(&["secrets", "enable", "-path=theirs", "kv"]);
        external.succeed(&["kv", "put", "theirs/a", "b=c"]);
        let policy = external.world.platform().join("policies/backend-policy.hcl");
        external.succeed(&["policy", "write", "theirs", &policy.display().to_string()]);
        external
    }

    /// The stock client with `token`.
    fn client(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = self.world.command(self.world.path("bin/bao"));
        command.env("BAO_ADDR", self.server.address()).env("BAO_TOKEN", token);
        command.args(arguments);
        command
    }

    fn operator(&self, arguments: &[&str]) -> Command {
        self.client(StockServer::ROOT_TOKEN, arguments)
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        self.world.succeed(&mut self.operator(arguments))
    }

    fn theirs(&self) -> [String; 2] {
        [
            self.succeed(&["policy", "read", "theirs"]),
            self.succeed(&["kv", "get", "-format=json", "theirs/a"]),
        ]
        // Each answer has an id of its own.
        .map(|text| text.lines().filter(|line| !line.contains("request_id")).collect())
    }
}

#[test]
fn the_walk() {
    for who in Who::all() {
        let external = External::new(who);
        let world = &external.world;
        let before = external.theirs();
        let refused = world.fail(&mut world.up_command());
        assert!(refused.contains("no token for the external secrets server"), "{refused}");
        world.run("down", &[]);
        world.succeed(world.up_command().env("VAULT_TOKEN", StockServer::ROOT_TOKEN));
        let status = world.status();
        assert_eq!(status["parts"][0]["engine"], "external");
        assert!(status["worst"].is_null(), "{status}");
        let user = DatabaseUser::read(&mut external.operator(&CREDENTIALS), world);
        user.write_as(world);
        user.revoke(world, &|arguments| external.operator(arguments));
        assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");

        world.run("down", &["--purge"]);
        world.assert_nothing_left();
        assert_eq!(external.theirs(), before);
    }
}

#[test]
fn the_printed_policy_is_enough_and_opens_nothing_else() {
    let external = External::new(Who::Caller);
    let world = &external.world;
    add_service(world, "");
    let before = external.theirs();
    let grant = || {
        let policy = world.run("plan", &["--print-policy"]);
        let file = world.path("least.hcl");
        fs::write(&file, &policy).unwrap();
        external.succeed(&["policy", "write", "least", &file.display().to_string()]);
        policy
    };
    assert!(!grant().contains("theirs"));
    let token = external.succeed(&[
        "token",
        "create",
        "-orphan",
        "-no-default-policy",
        "-policy=least",
        "-field=token",
    ]);
    let token = token.trim();
    // Its service waits for a secret that only those others can write.
    world.fail(world.up_command().env("VAULT_TOKEN", token));
    external.succeed(&["kv", "put", "secret/probe", "word=theirs"]);
    wait_for(|| world.status()["worst"].is_null());
    assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");
    DatabaseUser::read(&mut external.operator(&CREDENTIALS), world).write_as(world);

    for arguments in [
        ["kv", "get", "theirs/a"].as_slice(),
        &["kv", "put", "theirs/a", "b=d"],
        &["secrets", "disable", "theirs"],
        &["secrets", "enable", "-path=more", "kv"],
        &["policy", "read", "theirs"],
        &["policy", "delete", "theirs"],
        &["policy", "delete", "least"],
        &["read", "database/creds/backend-role"],
        &["token", "create"],
    ] {
        let said = world.fail(&mut external.client(token, arguments));
        assert!(said.contains("Code: 403"), "{arguments:?}: {said}");
    }
    assert_eq!(external.theirs(), before);

    // Drift is mended and what no file names any more is removed, with the policy printed anew.
    external.succeed(&["secrets", "tune", "-description=drifted", "kv"]);
    external.succeed(&["auth", "tune", "-description=drifted", "approle"]);
    let role = world.platform().join("vault/auth/approle/role/backend.json");
    fs::remove_file(role).unwrap();
    grant();
    let applied = world.run("apply", &[]);
    assert!(applied.contains("auth/approle/role/backend"), "{applied}");
    assert!(applied.contains("3 changes made"), "{applied}");
    assert!(world.run("apply", &[]).starts_with("0 changes"));
}
