//! The example service from end to end: `FastAPI` and psycopg on files that an agent renders, whose key
//! and whose database user are replaced while it is in use.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::leaks::canary;
use crate::world::{Who, World, wait_for};

/// The first life of a database user, and its longest.
const LIFE: Duration = Duration::from_secs(40);
const LONGEST: Duration = Duration::from_secs(80);

#[test]
fn a_service_without_a_line_about_secrets_outlives_their_rotation() {
    let world = World::of("notes", Who::Caller);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.write_config(&world.config().replace("\"8000\"", &format!("\"{port}\"")));
    shorten_lives(&world);
    install(&world);
    let (first, second) = (canary(), canary());

    let said = world.fail(&mut world.up_command());
    assert!(said.contains("there is no secret at kv/data/api"), "{said}");
    world.run("login", &[]);
    world.put("kv/api", &json!({ "key": first }));
    wait_for(|| get(port, "/health", "").is_ok_and(|(status, _)| status == 200));
    assert!(world.status()["worst"].is_null());
    let log = std::fs::read_to_string(world.state().join("logs/api.log")).unwrap();
    assert!(log.contains("Sourcing secrets from"), "{log}");
    assert_eq!(get(port, "/notes", "guess").unwrap().0, 401);

    let started = Instant::now();
    let user = database_user(port);
    let load = Load::start(port, &first);
    // The key is replaced by one version of the secret that knows both.
    world.put("kv/api", &json!({ "key": second, "previous": first }));
    wait_for(|| get(port, "/notes", &second).unwrap().0 == 200);
    load.use_key(&second);
    world.put("kv/api", &json!({ "key": second }));
    wait_for(|| get(port, "/notes", &first).unwrap().0 == 401);

    // The database user is renewed beyond its first life, and replaced before its longest ends.
    let deadline = started + LONGEST + Duration::from_secs(60);
    while database_user(port) == user {
        assert!(Instant::now() < deadline, "{user} is not replaced");
        thread::sleep(Duration::from_millis(200));
    }
    assert!(started.elapsed() > LIFE, "{user} was not renewed");
    let credentials = credentials(&world);
    let roles = || roles(&world, &credentials);
    assert!(roles().contains(&credentials.0), "{:?}", roles());
    wait_for(|| !roles().contains(&user));
    let count = load.stop();
    assert!(count > 100, "only {count} requests");

    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

fn shorten_lives(world: &World) {
    let path = world.platform().join("vault/database/roles/notes.json");
    let mut role: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    role["default_ttl"] = json!(format!("{}s", LIFE.as_secs()));
    role["max_ttl"] = json!(format!("{}s", LONGEST.as_secs()));
    std::fs::write(path, role.to_string()).unwrap();
}

/// What the service's README says, with the system's Python: others may lie where no service may look.
fn install(world: &World) {
    let mut venv = world.command("/usr/bin/python3");
    world.succeed(venv.args(["-m", "venv", "venv"]).current_dir(world.platform()));
    let mut pip = world.command(world.platform().join("venv/bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
    if let Some(home) = std::env::var_os("HOME") {
        // Downloads are kept there.
        pip.env("PIP_CACHE_DIR", PathBuf::from(home).join(".cache/pip"));
    }
    world.succeed(pip.current_dir(world.platform()));
}

/// What the service's file says.
fn credentials(world: &World) -> (String, String) {
    let directory = world.status()["secrets"][0]["directory"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(PathBuf::from(directory).join("database.json")).unwrap();
    let text: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| text[name].as_str().unwrap().to_owned();
    (field("user"), field("password"))
}

fn roles(world: &World, (user, password): &(String, String)) -> Vec<String> {
    let mut psql = world.command("psql");
    psql.envs(world.environment()).env("PGPASSWORD", password);
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "-d", "notes", "-U", user]);
    let said = world.succeed(psql.args(["-c", "SELECT rolname FROM pg_roles"]));
    said.lines().map(str::to_owned).collect()
}

fn database_user(port: u16) -> String {
    let (status, body) = get(port, "/health", "").unwrap();
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["database_user"].as_str().unwrap().to_owned()
}

/// Requests without a pause, of which none may fail.
struct Load {
    key: Arc<Mutex<String>>,
    over: Arc<AtomicBool>,
    worker: thread::JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn start(port: u16, key: &str) -> Self {
        let key = Arc::new(Mutex::new(key.to_owned()));
        let over = Arc::new(AtomicBool::new(false));
        let (its_key, its_over) = (key.clone(), over.clone());
        let worker = thread::spawn(move || {
            let (mut count, mut failed) = (0, Vec::new());
            while !its_over.load(Ordering::Relaxed) {
                let key = its_key.lock().unwrap();
                for answer in [
                    get(port, "/notes", &key),
                    request(port, "POST", "/notes", &key, "{\"text\": \"a note\"}"),
                ] {
                    count += 1;
                    match answer {
                        Ok((200 | 201, _)) => {}
                        other => failed.push(format!("{other:?}")),
                    }
                }
            }
            (count, failed)
        });
        Self { key, over, worker }
    }

    fn use_key(&self, key: &str) {
        key.clone_into(&mut self.key.lock().unwrap());
    }

    /// How many there were.
    fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let (count, failed) = self.worker.join().unwrap();
        assert_eq!(failed, Vec::<String>::new(), "of {count}");
        println!("{count} requests, none failed");
        count
    }
}

fn get(port: u16, path: &str, key: &str) -> std::io::Result<(u16, String)> {
    request(port, "GET", path, key, "")
}

/// One request on a connection of its own.
fn request(
    port: u16,
    method: &str,
    path: &str,
    key: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || std::io::Error::other(format!("no answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(malformed)?, body.to_owned()))
}
