//! A short-lived user of the example's database.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::{World, both, wait_for};

/// Asks for one, with the stock client.
pub(crate) const CREDENTIALS: [&str; 3] = ["read", "-format=json", "database/creds/backend-role"];

/// A database user that lives as long as its lease.
pub(crate) struct DatabaseUser {
    pub(crate) name: String,
    password: String,
    pub(crate) lease: String,
}

impl DatabaseUser {
    /// Has one made by [`CREDENTIALS`].
    pub(crate) fn read(read: &mut Command, world: &World) -> Self {
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

    pub(crate) fn psql(&self, world: &World, sql: &str) -> Command {
        world.psql(&self.name, &self.password, sql)
    }

    pub(crate) fn write_as(&self, world: &World) {
        let insert = format!(
            "INSERT INTO users (username, password_hash) VALUES ('{}', 'x') RETURNING 1",
            self.name
        );
        let printed = world.succeed(&mut self.psql(world, &insert));
        assert_eq!(printed.lines().next(), Some("1"));
    }

    /// Ends it before its time: its open session is ended, its password opens nothing, its role is
    /// gone. Another user of the same role, made by the same `client`, looks and goes on.
    pub(crate) fn revoke(&self, world: &World, client: &dyn Fn(&[&str]) -> Command) {
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
