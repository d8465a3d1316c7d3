//! `holdfast rotate` against a platform: it finds the secrets server, the caller's token and the agents
//! of services by itself, and what is rotated is declared in the platform directory.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Who, World, both, wait_for};

/// What the service prints at each start.
const SCRIPT: &str = "\
cd \"$CREDENTIALS_DIRECTORY\"\n\
echo \"Sourcing secrets $(cksum <db.env)\"\n\
exec sleep 86400\n";

/// Who may change the roles that take turns, and see and end their sessions.
const ROTATOR: &str = "CREATE ROLE \"{{name}}\" LOGIN CREATEROLE PASSWORD '{{password}}' \
    VALID UNTIL '{{expiration}}' IN ROLE app_backend, pg_read_all_stats, pg_signal_backend";

/// What else there may be on this machine that answers as an agent, and comes and goes.
const OTHERS: &str = "does not answer";

#[test]
fn embedded() {
    for who in Who::all() {
        rotates(&World::embedded(who));
    }
}

#[test]
fn managed() {
    rotates(&World::managed(Who::Caller));
}

fn rotates(world: &World) {
    // Agents are found on the whole machine, where other tests' platforms run: a name of its own.
    let name = world.path("").file_name().unwrap().to_string_lossy().replace('.', "");
    let (password, key) = (format!("secret/{name}/db"), format!("secret/{name}/key"));
    declare(world, &name);
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("db.env is not there yet"), "{said}");
    world.run("login", &[]);
    let rotator = credential(world);
    let sql = "CREATE ROLE app_a LOGIN PASSWORD 'known to too many' IN ROLE app_backend; \
               CREATE ROLE app_b NOLOGIN IN ROLE app_backend";
    world.succeed(&mut world.psql(&rotator.0, &rotator.1, sql));
    world.put(&key, &json!({ "key": "old" }));
    world.put(&password, &json!({ "username": "app_a", "password": "known to too many" }));
    wait_for(|| world.status()["worst"].is_null() && starts(world) == 1);
    world.succeed(&mut world.psql("app_a", "known to too many", "SELECT 1"));

    // The password: the service is started anew with the other role before the first one ends.
    let record = rotate(world, &[&password]);
    assert_eq!(record["phase"], "done", "{record}");
    let (user, new) = delivered(world);
    assert_eq!(user, "app_b");
    world.succeed(&mut world.psql(&user, &new, "SELECT 1"));
    world.fail(&mut world.psql("app_a", "known to too many", "SELECT 1"));
    assert_eq!(starts(world), 2, "it runs with what it was told to acknowledge");
    let shown = rotate(world, &["show", &password]);
    assert_eq!(
        (shown["phase"].clone(), shown["agents"].as_array().unwrap().len()),
        (json!("done"), 1)
    );

    // A value, and the password once more: the first role has the turn again.
    rotate(world, &[&key]);
    let text = fs::read_to_string(file(world)).unwrap();
    assert!(!text.contains("KEY=old") && text.contains("KEY="), "{text}");
    rotate(world, &[&password]);
    let (user, newest) = delivered(world);
    assert_eq!(user, "app_a");
    world.succeed(&mut world.psql(&user, &newest, "SELECT 1"));
    world.fail(&mut world.psql("app_b", &new, "SELECT 1"));
    wait_for(|| world.status()["worst"].is_null());
    // What metadata says is the directory's, and stays so.
    assert!(world.run("apply", &[]).starts_with("0 changes"));

    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// A service on a password and a key, both of which say how they are rotated.
fn declare(world: &World, name: &str) {
    let platform = world.platform();
    let write = |path: &str, text: String| {
        let path = platform.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("service.sh", SCRIPT.to_owned());
    let template = "{{ with secret \"secret/NAME/db\" }}U={{ .Data.data.username }}\n\
                    P={{ .Data.data.password | shquote }}\n{{ end }}\
                    {{ with secret \"secret/NAME/key\" }}KEY={{ .Data.data.key | shquote }}\n{{ end }}";
    write("templates/db.env.ctmpl", template.replace("NAME", name));
    write(
        "policies/app.hcl",
        format!("path \"secret/data/{name}/*\" {{ capabilities = [\"read\"] }}\n"),
    );
    write(
        &format!("vault/secret/metadata/{name}/db.json"),
        json!({ "custom_metadata": {
            "rotate": "postgres",
            "rotate_connection": "postgresql://${postgres.host}:${postgres.port}/appdb",
            "rotate_ca_file": "${ca.file}",
            "rotate_admin": "database/creds/rotator",
            "rotate_roles": "app_a,app_b",
        } })
        .to_string(),
    );
    write(
        &format!("vault/secret/metadata/{name}/key.json"),
        json!({ "custom_metadata": { "rotate": "value", "rotate_field": "key" } }).to_string(),
    );
    write(
        "vault/database/roles/rotator.json",
        json!({ "db_name": "appdb", "creation_statements": [ROTATOR] }).to_string(),
    );
    let config = platform.join("vault/database/config/appdb.json");
    let mut engine: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    engine["allowed_roles"] = json!(["backend-role", "rotator"]);
    fs::write(config, engine.to_string()).unwrap();
    world.write_config(&format!(
        "{}[services.app]\ncommand = [\"sh\", \"service.sh\"]\n\
         templates = [\"templates/db.env.ctmpl\"]\nreload = \"restart\"\n",
        world.config()
    ));
}

/// Runs `holdfast rotate`, with nothing but where the platform is. Gives the record.
fn rotate(world: &World, arguments: &[&str]) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut command = world.command(world.path("bin/holdfast"));
        command.arg("rotate").args(arguments).args(["--output", "json"]);
        command.arg("--platform").arg(world.platform()).arg("--state").arg(world.state());
        let output = command.output().unwrap();
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        let said = both(&output);
        // Other tests' agents come and go, and one that does not answer stops a rotation.
        let others = others_do_not_answer(&output, world);
        assert!(others && Instant::now() < deadline, "{:?}: {said}", output.status);
    }
}

fn others_do_not_answer(output: &Output, world: &World) -> bool {
    let said = both(output);
    let own = world.state().display().to_string();
    output.status.code() == Some(1) && said.contains(OTHERS) && !said.contains(&own)
}

fn credential(world: &World) -> (String, String) {
    let text = world.succeed(&mut world.bao(&["read", "-format=json", "database/creds/rotator"]));
    let data = crate::world::data(&text);
    let field = |name: &str| data[name].as_str().unwrap().to_owned();
    (field("username"), field("password"))
}

fn file(world: &World) -> PathBuf {
    let secrets = &world.status()["secrets"][0];
    PathBuf::from(secrets["directory"].as_str().unwrap()).join("db.env")
}

/// User and password in the service's file.
fn delivered(world: &World) -> (String, String) {
    let text = fs::read_to_string(file(world)).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches('\'').to_owned()
    };
    (field("U="), field("P="))
}

fn starts(world: &World) -> usize {
    let log = fs::read_to_string(world.state().join("logs/app.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("Sourcing secrets")).count()
}
