//! Every command block of the documentation is run, as a newcomer would run it.
//!
//! The `sh` blocks of a page are one session, in a fresh folder with the examples and the built
//! binary, as an ordinary user with an empty home. What prints is shown when a command fails.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;
use tempfile::TempDir;

/// Pages that are run one by one: they use the same example, but each in a folder of its own.
#[test]
fn readme() {
    run("README.md");
}

#[test]
fn platform() {
    run("docs/platform.md");
}

#[test]
fn secrets_server() {
    run("docs/vault-server.md");
}

#[test]
fn workload_identities() {
    run("docs/spiffe-agent.md");
}

#[test]
fn operations() {
    run("docs/vault-operations.md");
}

#[test]
fn databases() {
    run("docs/vault-databases.md");
}

#[test]
fn rotation() {
    run("docs/rotation.md");
}

#[test]
fn what_is_wrong_before_anything_runs() {
    run("docs/doctor.md");
}

#[test]
fn transit() {
    run("docs/transit.md");
}

#[test]
fn why_a_request_was_refused() {
    run("docs/explain.md");
}

#[test]
fn identities_of_workloads() {
    run("docs/spiffe.md");
}

#[test]
fn certificate_authorities() {
    run("docs/pki.md");
}

#[test]
fn delivery_by_the_agent() {
    run("docs/vault-agent-templates.md");
}

#[test]
fn agent() {
    run("docs/vault-agent.md");
}

#[test]
fn every_page_with_commands_is_run() {
    let run = [
        "README.md",
        "docs/platform.md",
        "docs/doctor.md",
        "docs/explain.md",
        "docs/spiffe-agent.md",
        "docs/vault-server.md",
        "docs/vault-operations.md",
        "docs/vault-databases.md",
        "docs/rotation.md",
        "docs/transit.md",
        "docs/vault-commands.md",
        "docs/vault-agent-templates.md",
        "docs/vault-agent.md",
        "docs/pki.md",
        "docs/spiffe.md",
    ];
    let mut folders = vec![root(), root().join("docs"), root().join("docs/decisions")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("read the docs") {
            let path = entry.expect("read the docs").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                let blocks = blocks(&fs::read_to_string(&path).unwrap());
                assert!(blocks.is_empty() || run.contains(&name.as_str()), "{name} is not run");
                seen += usize::from(!blocks.is_empty());
            }
        }
    }
    assert_eq!(seen, run.len());
}

/// The reference's examples stand alone, so they are run without a server: each has to get as far as
/// asking for one, which a wrong command line does not.
#[test]
fn vault_commands() {
    let page = fs::read_to_string(root().join("docs/vault-commands.md")).expect("the page");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    symlink(env!("CARGO_BIN_EXE_holdfast"), at("vault")).unwrap();
    fs::write(at("generate"), "#!/bin/sh\necho generated\n").unwrap();
    fs::set_permissions(at("generate"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(at("policies")).unwrap();
    for file in ["password.txt", "secret-id", "token", "share", "encoded"] {
        fs::write(at(file), "given").unwrap();
    }
    fs::write(at("policies/web.hcl"), "path \"a\" {}").unwrap();
    fs::write(at("key.b64"), "Z2l2ZW4=").unwrap();
    let mut lines = Vec::new();
    for (start, block) in blocks(&page) {
        lines.extend(block.lines().map(|line| (start, line.to_owned())));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut wrong = Vec::new();
    for (at_line, line) in &lines {
        if line.starts_with("vault server") || line.starts_with("vault agent") {
            // Runs until it is stopped: its own page does that.
            continue;
        }
        for file in line.split(['@', '<', ' ']).filter(|word| word.contains(".json")) {
            fs::write(at(file), "{}").unwrap();
        }
        let output = Command::new("timeout")
            .args(["20", "bash", "-c", line])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .env("HOME", folder.path())
            .env("BAO_ADDR", "unix:///nowhere/server.sock")
            .env("BAO_MAX_RETRIES", "0")
            .stdin(Stdio::null())
            .output()
            .expect("run the example");
        let said = String::from_utf8_lossy(&output.stderr);
        let asked = [
            "no such socket",
            "there is no terminal to ask at",
            "cannot be read",
            "no agent answers",
        ];
        if !output.status.success() && !asked.iter().any(|words| said.contains(words)) {
            wrong.push(format!("line {at_line}: {line}\n{said}"));
        }
    }
    assert!(lines.len() > 50, "the examples were found: {}", lines.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The user without rights that pages are run as when the tests are root.
const NOBODY: u32 = 65534;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The `sh` blocks of a page, each with the line it starts on.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line) {
            (None, "```sh") => open = Some((number + 2, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The session of a page. What builds is done already, and what runs this test is left out.
fn session(page: &str) -> String {
    // The usual port may be in use here.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let here = free.expect("a free port").to_string();
    let mut script = String::from("set -euo pipefail\n");
    for (line, block) in blocks(page) {
        script.push_str(&format!("echo '# line {line}'\n"));
        for command in block.lines() {
            match command {
                "make up" => script.push_str("target/debug/holdfast up examples/zero-trust\n"),
                "make test" => {}
                command => {
                    script.push_str(&command.replace("127.0.0.1:8200", &here));
                    script.push('\n');
                }
            }
        }
    }
    script
}

/// A folder as a newcomer has it after `make up` has built.
fn checkout() -> TempDir {
    let folder = tempfile::Builder::new().prefix("docs").tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("target/debug")).unwrap();
    fs::create_dir(at("home")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_holdfast"), at("target/debug/holdfast")).expect("the binary");
    copy(&root().join("examples"), &at("examples"));
    // The usual ports may be in use here, by a platform of the developer's own.
    let config = at("examples/zero-trust/holdfast.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(":8200\"", ":0\"").replace(":5432\"", ":0\"")).unwrap();
    if Uid::effective().is_root() {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        give(folder.path());
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

fn run(page: &str) {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let folder = checkout();
    let script = folder.path().join("session.sh");
    fs::write(&script, session(&text)).unwrap();
    let output = newcomer(&folder, Path::new("timeout"))
        .args(["300", "bash"])
        .arg(&script)
        .output()
        .expect("bash runs");
    // Whatever happened, nothing of it goes on.
    let mut down = newcomer(&folder, Path::new("target/debug/holdfast"));
    let down = down.args(["down", "--purge", "examples/zero-trust"]).output().expect("down runs");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(
        output.status.success(),
        "{page}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `program` in the folder, by a user without rights and without settings.
fn newcomer(folder: &TempDir, program: &Path) -> Command {
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.arg("--clear-groups").arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path().join("home"))
        .env("LANG", "C.UTF-8");
    command
}
