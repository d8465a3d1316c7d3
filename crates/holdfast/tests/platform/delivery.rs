//! Services that are given secrets: by an agent of their own, on a tmpfs, before they start.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::Value;

use crate::world::{Who, World, uid_of, wait_for};

/// What the service prints at each start: that its file is there, and a digest of it.
const SCRIPT: &str = "\
cd \"$CREDENTIALS_DIRECTORY\"\n\
env | sed 's/^/has /'\n\
cat ../jwt >/dev/null 2>&1 && echo read the login\n\
echo \"Sourcing secrets $(cksum <app.env)\"\n\
exec sleep 86400\n";

/// Lets the world have a service `probe`, with a file of a KV secret and database credentials.
pub(crate) fn add_service(world: &World, more: &str) {
    let platform = world.platform();
    fs::write(platform.join("service.sh"), SCRIPT).unwrap();
    fs::create_dir(platform.join("templates")).unwrap();
    let template = "\
WORD={{ with secret \"secret/probe\" }}{{ .Data.data.word }}{{ end }}\n\
{{ with secret \"database/creds/backend-role\" }}USER={{ .Data.username }}\n\
PASSWORD={{ .Data.password }}{{ end }}\nHOST={{ env \"DATABASE_HOST\" }}\n";
    fs::write(platform.join("templates/app.env.ctmpl"), template).unwrap();
    let policy = "path \"secret/data/probe\" { capabilities = [\"read\"] }\n\
                  path \"database/creds/backend-role\" { capabilities = [\"read\"] }\n";
    fs::write(platform.join("policies/probe.hcl"), policy).unwrap();
    world.write_config(&format!(
        "{}[services.probe]\ncommand = [\"sh\", \"service.sh\"]\n\
         templates = [\"templates/app.env.ctmpl\"]\n{more}\n\
         [services.probe.environment]\nDATABASE_HOST = \"${{postgres.host}}\"\n",
        world.config()
    ));
}

fn part(world: &World, name: &str) -> Value {
    let status = world.status();
    let parts = status["parts"].as_array().unwrap();
    parts.iter().find(|part| part["name"] == name).unwrap().clone()
}

pub(crate) fn pid(world: &World, name: &str) -> Option<i32> {
    part(world, name)["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap())
}

pub(crate) fn file(world: &World) -> PathBuf {
    let secrets = &world.status()["secrets"][0];
    PathBuf::from(secrets["directory"].as_str().unwrap()).join("app.env")
}

pub(crate) fn log(world: &World) -> String {
    fs::read_to_string(world.state().join("logs/probe.log")).unwrap_or_default()
}

pub(crate) fn starts(world: &World) -> usize {
    log(world).lines().filter(|line| line.contains("Sourcing secrets")).count()
}

#[test]
fn embedded() {
    for who in Who::all() {
        delivers(&World::embedded(who), who);
    }
}

#[test]
fn managed() {
    for who in Who::all() {
        delivers(&World::managed(who), who);
    }
}

fn delivers(world: &World, who: Who) {
    add_service(world, "reload = \"restart\"");
    // A secret that nobody has written yet keeps the service from starting, and is named.
    let said = world.fail(&mut world.up_command());
    assert!(
        said.contains("app.env is not there yet") && said.contains("secret/data/probe"),
        "{said}"
    );
    assert_eq!((part(world, "probe")["pid"].clone(), starts(world)), (Value::Null, 0));
    world.run("login", &[]);
    world.succeed(&mut world.bao(&["kv", "put", "secret/probe", "word=first"]));
    wait_for(|| world.status()["worst"].is_null() && starts(world) == 1);

    // On a tmpfs, for the service's user alone, who is the agent's.
    let path = file(world);
    let text = || fs::read_to_string(file(world)).unwrap();
    assert!(text().starts_with("WORD=first\nUSER=v-token-backend-"), "{}", text());
    assert!(text().ends_with("HOST=127.0.0.1\n"), "{}", text());
    let metadata = fs::metadata(&path).unwrap();
    let (service, agent) = (pid(world, "probe").unwrap(), pid(world, "probe-agent").unwrap());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!((uid_of(service), metadata.uid()), (metadata.uid(), metadata.uid()));
    if who == Who::Caller && Uid::effective().is_root() {
        assert_ne!(metadata.uid(), 0, "a uid of its own");
    }
    assert_eq!(
        nix::sys::statfs::statfs(&path).unwrap().filesystem_type(),
        nix::sys::statfs::TMPFS_MAGIC
    );
    let log = log(world);
    assert!(log.contains("has CREDENTIALS_DIRECTORY=") && !log.contains("first"), "{log}");
    assert!(!log.contains("read the login"), "Landlock keeps it from the service: {log}");

    // A change reaches the service, which was told to start anew; nobody is behind then.
    world.succeed(&mut world.bao(&["kv", "put", "secret/probe", "word=second"]));
    wait_for(|| starts(world) == 2);
    assert!(text().starts_with("WORD=second\n"), "{}", text());
    wait_for(|| world.status()["worst"].is_null());

    // Killed, the agent comes back; files and service stay meanwhile.
    let before = fs::metadata(&path).unwrap().ino();
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    wait_for(|| pid(world, "probe-agent").is_some_and(|pid| pid != agent));
    wait_for(|| world.status()["worst"].is_null());
    assert_eq!(part(world, "probe-agent")["restarts"], 1);
    assert_eq!(part(world, "probe")["restarts"], 0);

    // A template that changed takes effect by `apply`.
    let template = world.platform().join("templates/app.env.ctmpl");
    let changed = fs::read_to_string(&template).unwrap().replace("WORD=", "THE_WORD=");
    fs::write(&template, changed).unwrap();
    assert!(world.run("apply", &[]).starts_with("0 changes"));
    wait_for(|| text().starts_with("THE_WORD=second"));

    // A restart of the whole platform needs nobody; no credential of before is used.
    let user = text().lines().nth(1).unwrap().to_owned();
    world.run("down", &[]);
    assert!(!path.exists());
    world.up();
    assert!(text().starts_with("THE_WORD=second\n") && !text().contains(&user), "{}", text());
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}
