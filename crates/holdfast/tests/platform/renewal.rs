//! Certificates are replaced under whoever is connected.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use holdfast_types::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::database_user::{CREDENTIALS, DatabaseUser};
use crate::world::{Who, World, wait_for};

#[test]
fn embedded() {
    no_connection_is_dropped(&World::embedded(Who::Caller), true);
}

#[test]
fn managed() {
    no_connection_is_dropped(&World::managed(Who::Caller), false);
}

fn no_connection_is_dropped(world: &World, without_spiffe_server: bool) {
    // Due after a quarter of a minute.
    let mut supervisor = world.supervise(&["--leaf-lifetime", "30"]);
    wait_for(|| world.verb("status", &[]).output().unwrap().status.success());
    world.run("login", &[]);
    let user = DatabaseUser::read(&mut world.bao(&CREDENTIALS), world);

    let mut api = tls(world, "vault", &address(world, "vault"));
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
    let mut slow = user.psql(world, "SELECT 'done' FROM pg_sleep(20)");
    let slow = slow.stdout(Stdio::piped()).spawn().unwrap();

    // Each twice at least.
    let mut seen = ["vault", "postgres"].map(|part| (part, HashSet::from([served(world, part)])));
    wait_for(|| {
        for (part, served_by) in &mut seen {
            served_by.insert(served(world, part));
        }
        seen.iter().all(|(_, served_by)| served_by.len() > 2)
    });
    let slow = slow.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&slow.stdout).trim(), "done", "{slow:?}");
    for (part, served_by) in &seen {
        for certificate in served_by {
            assert_is_svid(world, part, certificate);
        }
    }
    assert!(api.ask(health, "initialized").contains("true"), "the same connection");
    assert_eq!(session.ask(ask, "backend"), backend, "the same session");
    // And new ones are verified as before.
    world.succeed(&mut user.psql(world, "SELECT 1"));
    world.succeed(&mut world.bao(&["token", "lookup"]));
    let status = world.status();
    assert!(status["worst"].is_null(), "{status}");
    assert!((0..4).all(|part| status["parts"][part]["restarts"] == 0), "{status}");

    if without_spiffe_server {
        the_root_stands_in(world);
    }

    world.run("down", &["--purge"]);
    supervisor.wait().unwrap();
    world.assert_nothing_left();
}

/// A SPIFFE server that does not answer leaves nobody without a certificate, and is told of.
fn the_root_stands_in(world: &World) {
    let address = address(world, "vault");
    let is_svid = || subject_names(world, &served_at(world, "vault", &address)).contains("URI:");
    assert!(is_svid());
    let pid = part(&world.status(), "spiffe-server")["pid"].as_i64().unwrap();
    let server = Pid::from_raw(pid.try_into().unwrap());
    kill(server, Signal::SIGSTOP).unwrap();
    wait_for(|| !is_svid());
    let worst = world.status()["worst"].to_string();
    kill(server, Signal::SIGCONT).unwrap();
    assert!(worst.contains("is not renewed"), "{worst}");
    wait_for(is_svid);
    wait_for(|| world.status()["worst"].is_null());
}

fn part<'s>(status: &'s Value, name: &str) -> &'s Value {
    let parts = status["parts"].as_array().unwrap();
    parts.iter().find(|found| found["name"] == name).unwrap()
}

fn address(world: &World, name: &str) -> String {
    let address = part(&world.status(), name)["address"].clone();
    address.as_str().unwrap().trim_start_matches("https://").to_owned()
}

/// A connection to a part, its certificate verified.
fn tls(world: &World, part: &str, address: &str) -> Command {
    let mut command = world.command("openssl");
    command.args(["s_client", "-verify_return_error", "-verify_hostname", "localhost"]);
    command.arg("-CAfile").arg(world.state().join("ca.pem")).args(["-connect", address]);
    if part == "postgres" {
        command.args(["-starttls", "postgres"]);
    }
    command
}

/// The certificate that a part serves with now, in PEM; it is verified.
pub(crate) fn served(world: &World, part: &str) -> String {
    served_at(world, part, &address(world, part))
}

/// Whether a client whose clock says `time` accepts what a part serves with now.
pub(crate) fn is_valid_at(world: &World, part: &str, time: Timestamp) -> bool {
    let mut command = tls(world, part, &address(world, part));
    command.args(["-attime", &time.as_second().to_string()]);
    command.stdin(Stdio::null()).output().unwrap().status.success()
}

pub(crate) fn served_at(world: &World, part: &str, address: &str) -> String {
    let mut command = tls(world, part, address);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{part}: {output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let from = output.find("-----BEGIN CERTIFICATE").unwrap_or_else(|| panic!("{part}: {output}"));
    let end = output[from..].find("-----END").unwrap();
    format!("{}-----END CERTIFICATE-----\n", &output[from..from + end])
}

/// The platform root is above it, and it says who the part is, and by what names it is dialled.
fn assert_is_svid(world: &World, part: &str, certificate: &str) {
    let text = subject_names(world, certificate);
    let names: Vec<_> = text.split(',').map(str::trim).collect();
    let id = format!("URI:spiffe://demo.local/holdfast/{part}");
    let dialled = ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"];
    assert_eq!(names, [&[id.as_str()], &dialled[..]].concat(), "{part}");
}

pub(crate) fn subject_names(world: &World, certificate: &str) -> String {
    let mut command = world.command("openssl");
    command.args(["x509", "-noout", "-ext", "subjectAltName"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(certificate.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().last().unwrap_or_default().to_owned()
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
