//! A secret's value is in the files of the service it is for and in that service's memory, and can be
//! read nowhere else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::delivery::{add_service, file, log, pid, starts};
use crate::leaks::{assert_planted_is_found, canary, find, make_temporary, memory_holds};
use crate::world::{Who, World, both, wait_for};

/// A service that keeps its file in memory.
const SERVICE: &str = "exec /usr/bin/python3 -c '
import os, signal
text = open(os.environ[\"CREDENTIALS_DIRECTORY\"] + \"/app.env\").read()
print(\"Sourcing secrets\", len(text), flush=True)
signal.pause()
'\n";

/// A service that has its secret in its environment, as it asked for.
const WORKER: &str = "\
[services.worker]\n\
command = [\"sh\", \"-c\", \"echo started with ${#WORD}; exec sleep 86400\"]\n\
secret_environment.WORD = \"templates/word.ctmpl\"\n";
const WORD: &str = "{{ with secret \"secret/worker\" }}{{ .Data.data.word }}{{ end }}\n";

#[test]
fn a_value_is_with_its_service_and_nowhere_else() {
    for who in Who::all() {
        is_kept(&World::embedded(who), who);
    }
}

fn is_kept(world: &World, who: Who) {
    add_service(world, "reload = \"restart\"");
    fs::write(world.platform().join("service.sh"), SERVICE).unwrap();
    world.write_config(&format!("{}\n{WORKER}", world.config()));
    let policy = "path \"secret/data/worker\" { capabilities = [\"read\"] }\n";
    fs::write(world.platform().join("policies/worker.hcl"), policy).unwrap();
    fs::write(world.platform().join("templates/word.ctmpl"), WORD).unwrap();
    let temporary = make_temporary(world);
    let said = world.fail(world.up_command().env("TMPDIR", &temporary));
    assert!(said.contains("app.env is not there yet"), "{said}");
    world.run("login", &[]);
    let (first, second, shown) = (canary(), canary(), canary());
    world.put("secret/shown", &json!({ "word": shown }));
    world.put("secret/probe", &json!({ "word": first }));
    let (old, new) = (canary(), canary());
    world.put("secret/worker", &json!({ "word": old }));
    wait_for(|| world.status()["worst"].is_null() && starts(world) == 1);
    world.put("secret/probe", &json!({ "word": second }));
    wait_for(|| starts(world) == 2 && world.status()["worst"].is_null());
    assert_planted_is_found(world);
    is_in_the_environment(world, &old, &new);

    // Where it belongs.
    let text = fs::read_to_string(file(world)).unwrap();
    assert!(text.starts_with(&format!("WORD={second}\n")), "{}", log(world));
    let password = text.lines().find_map(|line| line.strip_prefix("PASSWORD=")).unwrap();
    assert!(password.len() >= 20, "so long a word stands nowhere by chance");
    let secrets = file(world).parent().unwrap().to_owned();
    let belongs = |path: &PathBuf| path.starts_with(&secrets);
    let (service, supervisor) = (pid(world, "probe").unwrap(), world.supervisor().unwrap());
    for value in [second.as_str(), password] {
        assert!(find(world, &[value]).iter().any(belongs), "in its file");
        assert_ne!(memory_holds(world, service, value), Some(false), "in the service's memory");
        assert_ne!(memory_holds(world, supervisor, value), Some(true), "not in the supervisor's");
    }
    assert_ne!(memory_holds(world, service, &canary()), Some(true));
    let state = world.state().display().to_string();
    assert_ne!(memory_holds(world, supervisor, &state), Some(false), "its memory can be read");

    // And nowhere else.
    let needles = [first.as_str(), &second, &shown, password];
    let elsewhere = || {
        let mut found = find(world, &needles);
        found.retain(|path| !belongs(path));
        found
    };
    assert_eq!(elsewhere(), Vec::<PathBuf>::new());
    assert_is_not_printed(world, &needles);

    // A process that wants it so has it in its environment, and there alone; and that is said.
    for signal in [Signal::SIGABRT, Signal::SIGSEGV] {
        let (agent, process) = start_process(world);
        assert_eq!(elsewhere(), [PathBuf::from(format!("/proc/{process}/environ"))]);
        assert_is_not_printed(world, &needles);
        let said = both(&holdfast(world, &["vault", "agent", "status"]).output().unwrap());
        assert!(said.contains("/proc/<pid>/environ has them"), "{said}");
        assert_core_is_forbidden(&PathBuf::from(format!("/proc/{process}")), "the process");
        assert_not_dumped(end(agent, signal), signal);
        // It ends with its agent.
        wait_for(|| elsewhere().is_empty());
    }
    dumps_are_possible(world);

    // Nothing of the memory of server and agent reaches a disk or another process of their user.
    for name in ["vault", "probe-agent"] {
        let before = pid(world, name).unwrap();
        let process = PathBuf::from(format!("/proc/{before}"));
        let directory = fs::read_link(process.join("cwd")).unwrap();
        assert_memory_is_kept(&process, name);
        kill(Pid::from_raw(before), Signal::SIGABRT).unwrap();
        wait_for(|| pid(world, name).is_some_and(|pid| pid != before));
        wait_for(|| world.status()["worst"].is_null());
        assert_eq!(cores(&directory), Vec::<PathBuf>::new(), "{name}, {who:?}");
        assert_eq!(elsewhere(), Vec::<PathBuf>::new(), "after the end of {name}");
    }

    world.run("down", &[]);
    assert_eq!(find(world, &needles), Vec::<PathBuf>::new(), "of a platform that is down");
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// What a service asked to have in its environment is there, in its files, and nowhere else, before
/// and after a change; and the status says so.
fn is_in_the_environment(world: &World, old: &str, new: &str) {
    let has = |value: &str| {
        let Some(worker) = pid(world, "worker") else { return false };
        let environment = fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|found| found == format!("WORD={value}").as_bytes())
    };
    let files = PathBuf::from(world.status()["secrets"][1]["directory"].as_str().unwrap());
    let elsewhere = || {
        let worker = pid(world, "worker").unwrap();
        let mut found = find(world, &[old, new]);
        found.retain(|path| {
            !path.starts_with(&files) && *path != Path::new(&format!("/proc/{worker}/environ"))
        });
        found
    };
    wait_for(|| has(old));
    assert_eq!(elsewhere(), Vec::<PathBuf>::new());
    let text = world.run("status", &[]);
    assert!(text.contains("IN ITS ENVIRONMENT: WORD"), "{text}");
    assert_eq!(world.status()["secrets"][1]["environment"], json!(["WORD"]));
    assert_eq!(world.status()["secrets"][0]["environment"], json!([]));
    world.put("secret/worker", &json!({ "word": new }));
    wait_for(|| has(new) && world.status()["worst"].is_null());
    assert_eq!(elsewhere(), Vec::<PathBuf>::new());
    assert!(find(world, &[new]).iter().any(|path| path.starts_with("/proc")), "it is found there");
}

fn holdfast(world: &World, words: &[&str]) -> Command {
    let mut command = world.command(world.path("bin/holdfast"));
    command.args(words);
    command
}

fn assert_is_not_printed(world: &World, needles: &[&str]) {
    for (mut command, expected) in [
        (world.verb("status", &[]), "probe"),
        (world.verb("status", &["--output", "json"]), "probe"),
        (world.verb("plan", &[]), ""),
        (world.verb("env", &[]), "VAULT_ADDR"),
        (holdfast(world, &["vault", "agent", "status"]), "app.env"),
        (holdfast(world, &["vault", "agent", "status", "-output=json"]), "app.env"),
        (holdfast(world, &["trace", "secret", "secret/probe"]), "app.env"),
        (holdfast(world, &["trace", "secret", "secret/probe", "--output", "json"]), "app.env"),
    ] {
        let said = both(&command.output().unwrap());
        assert!(said.contains(expected), "{command:?}: {said}");
        assert!(!needles.iter().any(|needle| said.contains(needle)), "{command:?}: {said}");
    }
}

/// An agent of the operator's, who lets it dump as much as it likes, with a process that has a secret
/// in its environment; and that process.
fn start_process(world: &World) -> (Child, i32) {
    let home = world.home();
    let config = home.join("process.hcl");
    let text = r#"
        auto_auth { method "token_file" { config = { token_file_path = "HOME/.vault-token" } } }
        env_template "WORD" { contents = "{{ with secret \"secret/shown\" }}{{ .Data.data.word }}{{ end }}" }
        exec { command = ["sh", "-c", "echo $$ > HOME/process.pid; exec sleep 600"] }
    "#;
    fs::write(&config, text.replace("HOME", &home.display().to_string())).unwrap();
    let _ = fs::remove_file(home.join("process.pid"));
    let log = fs::File::create(world.path("process.log")).unwrap();
    let mut command = world.command("sh");
    command.envs(world.environment()).env("TMPDIR", world.path("tmp"));
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
    command.arg(world.path("bin/holdfast")).args(["vault", "agent", "-log-level=debug", "-config"]);
    command.arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let agent = command.spawn().unwrap();
    let process = || {
        let pid: i32 = fs::read_to_string(home.join("process.pid")).ok()?.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name == "sleep\n").then_some(pid)
    };
    wait_for(|| process().is_some());
    (agent, process().unwrap())
}

/// Ends it by a signal that dumps memory.
fn end(mut child: Child, signal: Signal) -> ExitStatus {
    let pid = Pid::from_raw(child.id().cast_signed());
    wait_for(|| {
        // The first segmentation fault that is none goes to the runtime's handler, which resigns.
        let _ = kill(pid, signal);
        child.try_wait().unwrap().is_some()
    });
    child.wait().unwrap()
}

fn assert_not_dumped(status: ExitStatus, signal: Signal) {
    assert_eq!(status.signal(), Some(signal as i32));
    assert!(!status.core_dumped(), "{status}");
}

/// Shows that a process that does not forbid it is dumped here, and that its file is found.
fn dumps_are_possible(world: &World) {
    let mut command = world.command("sh");
    command.args(["-c", "ulimit -c unlimited; kill -ABRT $$"]);
    let status = command.status().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    if !status.core_dumped() {
        println!("skipped: this machine dumps no process");
        return;
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.trim().trim_end_matches("%p").trim_end_matches('.') == "core" {
        let left = cores(&world.home());
        // The shell's own; the agents left none there.
        assert_eq!(left.len(), 1, "{left:?}");
        fs::remove_file(&left[0]).unwrap();
    }
}

fn cores(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_core = |path: &PathBuf| {
        path.is_file()
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"))
    };
    paths.filter(is_core).collect()
}

fn assert_memory_is_kept(process: &Path, name: &str) {
    assert_core_is_forbidden(process, name);
    // What may not be traced by its own user belongs to root here.
    let status = fs::read_to_string(process.join("status")).unwrap();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert_ne!(uid.split_whitespace().nth(1), Some("0"), "{name} runs as root");
    assert_eq!(fs::metadata(process.join("environ")).unwrap().uid(), 0, "{name}");
}

fn assert_core_is_forbidden(process: &Path, name: &str) {
    let limits = fs::read_to_string(process.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{name}: {core}");
}
