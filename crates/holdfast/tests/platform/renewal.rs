//! Certificates are replaced under whoever is connected.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::database_user::{CREDENTIALS, DatabaseUser};
use crate::world::{Who, World, wait_for};

#[test]
fn embedded() {
    no_connection_is_dropped(&World::embedded(Who::Caller));
}

#[test]
fn managed() {
    no_connection_is_dropped(&World::managed(Who::Caller));
}

fn no_connection_is_dropped(world: &World) {
    // Due after half a minute.
    let mut supervisor = world.supervise(&["--leaf-lifetime", "75"]);
    wait_for(|| world.verb("status", &[]).output().unwrap().status.success());
    world.run("login", &[]);
    let user = DatabaseUser::read(&mut world.bao(&CREDENTIALS), world);

    let mut api = tls(world, "vault");
    // Nothing but the answers.
    api.arg("-quiet");
    let mut api = Conversation::start(api);
    let health = "GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(api.ask(health, "initialized").contains("true"));
    // What it is asked first, and then what comes on standard input.
    let mut session = user.psql(world, "SELECT 1");
    session.args(["-f", "-"]);
    let mut session = Conversation::start(session);
    let ask = "SELECT 'backend ' || pg_backend_pid();\n";
    let backend = session.ask(ask, "backend");

    for part in ["vault", "postgres"] {
        let first = served(world, part);
        wait_for(|| served(world, part) != first);
    }
    assert!(api.ask(health, "initialized").contains("true"), "the same connection");
    assert_eq!(session.ask(ask, "backend"), backend, "the same session");
    // And new ones are verified as before.
    world.succeed(&mut user.psql(world, "SELECT 1"));
    world.succeed(&mut world.bao(&["token", "lookup"]));
    let status = world.status();
    assert!(status["worst"].is_null(), "{status}");
    assert!((0..4).all(|part| status["parts"][part]["restarts"] == 0), "{status}");

    world.run("down", &["--purge"]);
    supervisor.wait().unwrap();
    world.assert_nothing_left();
}

/// A connection to a part, its certificate verified.
fn tls(world: &World, part: &str) -> Command {
    let status = world.status();
    let parts = status["parts"].as_array().unwrap();
    let found = parts.iter().find(|found| found["name"] == part).unwrap();
    let address = found["address"].as_str().unwrap().trim_start_matches("https://").to_owned();
    let mut command = world.command("openssl");
    command.args(["s_client", "-verify_return_error", "-verify_hostname", "localhost"]);
    command.arg("-CAfile").arg(world.state().join("ca.pem")).args(["-connect", &address]);
    if part == "postgres" {
        command.args(["-starttls", "postgres"]);
    }
    command
}

/// The certificate that a part serves with now, in PEM; it is verified.
pub(crate) fn served(world: &World, part: &str) -> String {
    let mut command = tls(world, part);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{part}: {output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let from = output.find("-----BEGIN CERTIFICATE").unwrap_or_else(|| panic!("{part}: {output}"));
    let end = output[from..].find("-----END").unwrap();
    output[from..from + end].to_owned()
}

/// A program that answers line by line.
struct Conversation {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Conversation {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Says `text`; gives the first line of the answer that has `word`.
    fn ask(&mut self, text: &str, word: &str) -> String {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it hung up");
            if line.contains(word) {
                return line;
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
