//! Up and down with `--purge`, again and again: the same state each time, and nothing left behind.

use serde_json::{Value, json};

use crate::world::{Who, World, data};

/// How often; `cargo xtask prove` asks for more.
fn rounds() -> u32 {
    let text = std::env::var("HOLDFAST_PROVE_PURGES");
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[test]
fn embedded() {
    for who in Who::all() {
        rebuilt(&World::embedded(who));
    }
}

#[test]
fn managed() {
    for who in Who::all() {
        rebuilt(&World::managed(who));
    }
}

fn rebuilt(world: &World) {
    let mut first = None;
    for round in 1..=rounds() {
        world.up();
        let state = state_of(world);
        assert_eq!(first.get_or_insert_with(|| state.clone()), &state, "round {round}");
        world.run("down", &["--purge"]);
        world.assert_nothing_left();
    }
}

/// What a platform consists of, without what has to differ: identifiers, ports, times, passwords.
fn state_of(world: &World) -> Value {
    world.run("login", &[]);
    let read = |arguments: &[&str]| -> Value {
        let printed = world.succeed(world.bao(arguments).env("BAO_FORMAT", "json"));
        serde_json::from_str(&printed).unwrap()
    };
    let mut mounts = read(&["secrets", "list"]);
    for mount in mounts.as_object_mut().unwrap().values_mut() {
        let fields = mount.as_object_mut().unwrap();
        fields.retain(|name, _| !name.contains("uuid") && !name.contains("accessor"));
    }
    let policies = read(&["policy", "list"]);
    let policies: Vec<_> = policies
        .as_array()
        .unwrap()
        .iter()
        // That one has no text.
        .filter(|name| *name != "root")
        .map(|name| (name.clone(), read(&["policy", "read", name.as_str().unwrap()])))
        .collect();
    let role = read(&["read", "database/roles/backend-role"])["data"].clone();

    let credentials = ["read", "-format=json", "database/creds/backend-role"];
    let user = data(&world.succeed(&mut world.bao(&credentials)));
    let schema = world.succeed(&mut world.psql(
        user["username"].as_str().unwrap(),
        user["password"].as_str().unwrap(),
        "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns
           WHERE table_schema = 'public' ORDER BY 1, 2;
         SELECT grantee, table_name, privilege_type FROM information_schema.table_privileges
           WHERE grantee = 'app_backend' ORDER BY 1, 2, 3;
         SELECT rolname, rolsuper, rolcanlogin FROM pg_roles
           WHERE rolname !~ '^(pg_|v-)' ORDER BY 1",
    ));
    json!({ "mounts": mounts, "policies": policies, "role": role, "schema": schema })
}
