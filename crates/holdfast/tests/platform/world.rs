//! A platform of a test's own, and whatever it leaves behind when the test is over.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_testkit::Stock;
use nix::unistd::{Uid, User};
use serde_json::Value;
use tempfile::TempDir;

/// Whose platform it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever runs the test.
    Caller,
    /// The user `nobody`, when the test runs as root.
    Nobody,
}

impl Who {
    /// The caller, and as root an ordinary user too.
    pub(crate) fn all() -> Vec<Self> {
        match Uid::effective().is_root() {
            true => vec![Self::Caller, Self::Nobody],
            false => vec![Self::Caller],
        }
    }
}

/// A copy of the example platform, with a home directory and a state directory.
pub(crate) struct World {
    directory: TempDir,
    who: Who,
    pub(crate) stock: Stock,
}

impl World {
    /// `vault` is the text of its `[vault]` section; `BAO` in it stands for the real engine.
    pub(crate) fn new(who: Who, vault: &str) -> Self {
        let world = Self::of("zero-trust", who);
        let vault = vault.replace("BAO", &world.path("bin/bao").display().to_string());
        world.write_config(&format!(
            "name = \"test\"\ntrust_domain = \"demo.local\"\n[vault]\n{vault}\n\
             [postgres]\nlisten = \"127.0.0.1:0\"\n\
             [postgres.databases.appdb]\nowner = \"appdb_owner\"\ngroup = \"app_backend\"\n"
        ));
        world
    }

    /// An example as it is, on ports that the system picks.
    pub(crate) fn of(example: &str, who: Who) -> Self {
        let stock = Stock::install();
        let directory = tempfile::Builder::new().prefix("hf-").tempdir().unwrap();
        let world = Self { directory, who, stock };
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        copy(&examples.join(example), &world.platform());
        fs::create_dir(world.home()).unwrap();
        // An ordinary user may not be able to walk to where the builder keeps these.
        let copies = world.path("bin");
        fs::create_dir(&copies).unwrap();
        link(Path::new(env!("CARGO_BIN_EXE_holdfast")), &copies.join("holdfast"));
        link(world.stock.bao(), &copies.join("bao"));
        let config = world.config().replace(":8200\"", ":0\"").replace(":5432\"", ":0\"");
        world.write_config(&config.replace(&format!("name = \"{example}\""), "name = \"test\""));
        if who == Who::Nobody {
            let nobody = nobody();
            let (uid, gid) = (Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()));
            chown(world.directory.path(), uid, gid).unwrap();
            chown(world.home(), uid, gid).unwrap();
        }
        fs::set_permissions(world.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    /// From now on the platform's own programs take it to be `seconds` later than it is; 0 is the
    /// system's time again.
    pub(crate) fn live(&self, seconds: i64) {
        let program = self.path("bin/holdfast");
        fs::remove_file(&program).unwrap();
        link(Path::new(env!("CARGO_BIN_EXE_holdfast")), &program);
        if seconds != 0 {
            holdfast_testkit::move_clock(&program, seconds);
        }
    }

    /// The same for what runs already, in a world that lives by a moved clock.
    pub(crate) fn jump(&self, seconds: i64) {
        holdfast_testkit::set_clock(&self.path("bin/holdfast"), seconds);
    }

    /// The managed engine.
    pub(crate) fn managed(who: Who) -> Self {
        Self::new(who, "engine = \"managed\"\nlisten = \"127.0.0.1:0\"\nbinary = \"BAO\"")
    }

    /// Ours.
    pub(crate) fn embedded(who: Who) -> Self {
        Self::new(who, "engine = \"embedded\"\nlisten = \"127.0.0.1:0\"")
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.platform().join("holdfast.toml"), text).unwrap();
    }

    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.platform().join("holdfast.toml")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn platform(&self) -> PathBuf {
        self.path("platform")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn seal_key(&self) -> PathBuf {
        self.home().join("seal-key/test.seal")
    }

    /// `program` as the platform's user, with a bare environment.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = match self.who {
            Who::Caller => Command::new(program.as_ref()),
            Who::Nobody => {
                let mut command = Command::new("setpriv");
                let nobody = nobody();
                command.arg(format!("--reuid={}", nobody.uid));
                command.arg(format!("--regid={}", nobody.gid));
                command.arg("--clear-groups").arg("--").arg(program.as_ref());
                command
            }
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", self.home());
        command.env("USER", "test").current_dir(self.home());
        command
    }

    /// `holdfast VERB PLATFORM --state ...`, then `more`.
    pub(crate) fn verb(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = self.command(self.path("bin/holdfast"));
        command.arg(verb);
        if matches!(verb, "logs" | "restart") {
            command.arg("--platform");
        }
        command.arg(self.platform()).arg("--state").arg(self.state()).args(more);
        command
    }

    pub(crate) fn up_command(&self) -> Command {
        let mut command = self.verb("up", &[]);
        command.arg("--seal-file").arg(self.seal_key());
        command
    }

    pub(crate) fn up(&self) -> String {
        self.succeed(&mut self.up_command())
    }

    /// The supervisor with `more`, as `up` starts it and does not wait for it.
    pub(crate) fn supervise(&self, more: &[&str]) -> Child {
        let mut command = self.verb("supervise", more);
        command.arg("--seal-file").arg(self.seal_key());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut supervisor = command.spawn().unwrap();
        supervisor.stdin.take().unwrap().write_all(b"{}").unwrap();
        supervisor
    }

    /// Runs a verb that has to succeed; gives what it prints.
    pub(crate) fn run(&self, verb: &str, more: &[&str]) -> String {
        self.succeed(&mut self.verb(verb, more))
    }

    /// Runs a command that has to fail; gives what it complains of.
    pub(crate) fn fail(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{command:?} succeeded:\n{}", both(&output));
        both(&output).replace(&self.directory.path().display().to_string(), "DIR")
    }

    pub(crate) fn succeed(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = both(&output);
        assert!(output.status.success(), "{command:?}:\n{said}\n{}", self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.verb("status", &["--output", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)))
    }

    /// The settings that `holdfast env` prints.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = self.run("env", &["--shell", "dotenv"]);
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(pair).collect()
    }

    /// The real client, with the platform's settings and the operator's token.
    pub(crate) fn bao(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.path("bin/bao"));
        command.envs(self.environment()).args(arguments);
        command
    }

    /// Writes a KV secret, whose values are no arguments.
    pub(crate) fn put(&self, path: &str, data: &Value) {
        let mut command = self.bao(&["kv", "put", path, "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(data.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// `psql` with the platform's settings; checks the server's certificate and name.
    pub(crate) fn psql(&self, user: &str, password: &str, sql: &str) -> Command {
        let mut command = self.command("psql");
        command.envs(self.environment()).env("PGPASSWORD", password);
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-d", "appdb", "-U", user, "-c", sql]);
        command
    }

    /// The pids of the platform's processes, its supervisors included.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let (state, mark) = (self.state(), format!("HOLDFAST_STATE={}", self.state().display()));
        let ours = |pid: &i32| {
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let has = |bytes: Vec<u8>, word: &str| {
                bytes.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
            };
            has(read("environ"), &mark)
                || has(read("cmdline"), "supervise")
                    && has(read("cmdline"), &state.display().to_string())
        };
        pids().into_iter().filter(ours).collect()
    }

    /// The supervisor's pid.
    pub(crate) fn supervisor(&self) -> Option<i32> {
        let state = self.state().display().to_string();
        pids().into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words.contains(&b"supervise".as_slice()) && words.contains(&state.as_bytes())
        })
    }

    /// Fails when anything of the platform is left.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<i32>::new(), "processes");
        assert!(!self.state().exists(), "the state directory");
        assert!(!self.seal_key().exists(), "the seal key");
        let here = self.directory.path().display().to_string();
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(&here), "a mount");
        let uid = match self.who {
            Who::Caller => Uid::effective(),
            Who::Nobody => nobody().uid,
        };
        let shared = PathBuf::from(format!("/dev/shm/holdfast-{uid}"));
        let left = fs::read_dir(shared).into_iter().flatten().flatten();
        // Other tests' platforms run at the same time, and are told apart by the state's path.
        let own = format!("test-{:08x}", path_number(&self.state()));
        assert!(left.into_iter().all(|entry| *entry.file_name() != *own), "secret files");
        for base in ["/run/holdfast/agent".to_owned(), format!("/dev/shm/holdfast-{uid}/agent")] {
            let found = fs::read_dir(base).into_iter().flatten().flatten();
            let mut names = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
            assert!(names.all(|name| !name.starts_with(&own)), "the way to an agent");
        }
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.state().join("logs")).into_iter().flatten().flatten() {
            let log = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(15).collect();
            text.push_str(&format!("--- {}\n", entry.path().display()));
            for line in lines.into_iter().rev() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.state().exists() {
            let _ = self.verb("down", &["--purge"]).output();
        }
    }
}

/// Returns once `condition` holds.
#[track_caller]
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to that within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A line of JSON's `data` from `bao ... -format=json`.
pub(crate) fn data(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["data"].clone()
}

/// Every file below `directory` that holds `needle`.
pub(crate) fn files_with(directory: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(files_with(&path, needle));
        } else if metadata.is_file()
            && fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
        {
            found.push(path);
        }
    }
    found
}

/// Which user a process runs as.
pub(crate) fn uid_of(pid: i32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}

pub(crate) fn both(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// All processes of the machine.
pub(crate) fn pids() -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("every system has a user nobody")
}

/// How the program names what belongs to a state directory.
fn path_number(path: &Path) -> u32 {
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path.as_os_str().as_encoded_bytes());
    digest.as_ref()[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn link(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "venv" {
            // Of whoever tried the example here.
            continue;
        }
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
