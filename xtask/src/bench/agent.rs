//! `bench agent`: from a write to the last file, requests, memory; beside the real agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use super::AgentArgs;
use super::engine::{Binaries, Engine, Server};
use super::process::Process;
use super::report::{Figure, Goal, Progress};

/// How long the first files, or those after a change, may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long requests at rest are counted.
const REST: Duration = Duration::from_secs(10);
/// How often is looked whether files are there.
const LOOK: Duration = Duration::from_micros(200);

const POLICY: &str = r#"
path "kv/*" { capabilities = ["read"] }
path "sys/events/subscribe/*" { capabilities = ["read"] }
"#;

/// A server, and the agent of the same project beside it.
struct Pair {
    engine: Engine,
    server: Server,
    binary: PathBuf,
    token: String,
}

/// A running agent with its files.
struct Agent {
    child: Child,
    folder: TempDir,
    files: usize,
}

/// Measures all of it.
pub(super) fn measure(args: &AgentArgs, binaries: &Binaries) -> Result<Vec<Figure>> {
    let progress = Progress::new();
    let pairs = [
        Pair::new(Engine::Holdfast, binaries, &progress)?,
        Pair::new(Engine::OpenBao, binaries, &progress)?,
    ];
    let mut figures = Vec::new();
    for files in [1, 100, 1000] {
        let mut both = Vec::new();
        for pair in &pairs {
            both.push(pair.changes(files, args.rounds, &progress)?);
        }
        let goal = (files == 100).then_some(Goal::AtMost(250.0));
        for (index, (name, part)) in
            [("50th", 0.5), ("95th", 0.95), ("99th", 0.99)].iter().enumerate()
        {
            let of = |changes: &Changes| percentile(&changes.times, *part);
            figures.push(Figure::new(
                format!("write to last of {files} files, {name}"),
                "ms",
                of(&both[0]),
                Some(of(&both[1])),
                goal.filter(|_| index == 1),
            ));
        }
        figures.push(Figure::new(
            format!("requests for a change of {files} files"),
            "",
            both[0].requests,
            Some(both[1].requests),
            None,
        ));
    }
    let mut both = Vec::new();
    for pair in &pairs {
        both.push(pair.rest(1000, &progress)?);
    }
    let name = "requests at rest, 1000 secrets";
    figures.push(Figure::new(name, "1/h", both[0].requests, Some(both[1].requests), None));
    let goal = Some(Goal::AtMost(15.0));
    let name = "resident, 1000 templates of 1000 secrets, median";
    figures.push(Figure::new(name, "MB", both[0].resident, Some(both[1].resident), goal));
    let name = "private, the same";
    figures.push(Figure::new(name, "MB", both[0].private, Some(both[1].private), None));
    Ok(figures)
}

/// What changes took.
struct Changes {
    /// From before the write to the last file, in milliseconds, sorted.
    times: Vec<f64>,
    /// Requests of the agent for one change.
    requests: f64,
}

/// What an agent takes while nothing changes.
struct Rest {
    /// In an hour.
    requests: f64,
    /// Medians, in MB: what is resident, and what of it no other process has.
    resident: f64,
    private: f64,
}

impl Pair {
    fn new(engine: Engine, binaries: &Binaries, progress: &Progress) -> Result<Self> {
        progress.say(&format!("{}: set up", engine.name()));
        let server = Server::new(engine, binaries)?;
        let mount = json!({ "type": "kv", "options": { "version": "2" } });
        server.call("POST", "sys/mounts/kv", &mount)?;
        server.call("PUT", "sys/policies/acl/agent", &json!({ "policy": POLICY }))?;
        let body = json!({ "policies": ["agent"], "period": "24h" });
        let reply = server.call("POST", "auth/token/create", &body)?;
        let token = reply["auth"]["client_token"].as_str().context("a token")?.to_owned();
        let binary = match engine {
            Engine::Holdfast => binaries.holdfast.clone(),
            Engine::OpenBao => binaries.bao.clone(),
        };
        Ok(Self { engine, server, binary, token })
    }

    fn put(&self, name: &str, number: u32) -> Result<()> {
        let body = json!({ "data": { "n": number.to_string(), "user": "app-backend" } });
        self.server.call("PUT", &format!("kv/data/{name}"), &body).map(drop)
    }

    /// Starts the agent with a template of `lines` lines for each of `secrets`.
    fn agent(&self, secrets: &[String]) -> Result<Agent> {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir_in("/dev/shm")?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(folder.path().join("token"), &self.token)?;
        let mut config = format!(
            r#"
            vault {{ address = "http://{}" }}
            auto_auth {{ method "token_file" {{ config = {{ token_file_path = "{}" }} }} }}
            template_config {{ static_secret_render_interval = "1s" }}
            "#,
            self.server.target(false).address,
            at("token")
        );
        for (index, secret) in secrets.iter().enumerate() {
            config.push_str(&format!(
                r#"
                template {{
                  contents    = "{{{{ with secret \"kv/data/{secret}\" }}}}USER={{{{ .Data.data.user }}}}\nN={{{{ .Data.data.n }}}}{{{{ end }}}}\n"
                  destination = "{}"
                  perms       = "0600"
                }}
                "#,
                at(&format!("out/{index}"))
            ));
        }
        fs::write(folder.path().join("agent.hcl"), config)?;
        let log = fs::File::create(folder.path().join("agent.log"))?;
        let mut command = Command::new(&self.binary);
        if self.engine == Engine::Holdfast {
            command.arg("vault");
        }
        command.arg("agent").arg("-config").arg(folder.path().join("agent.hcl"));
        command.env_remove("VAULT_TOKEN").env_remove("BAO_TOKEN");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("run {}", self.binary.display()))?;
        Ok(Agent { child, folder, files: secrets.len() })
    }

    /// Changes one secret that all files hold, again and again.
    fn changes(&self, files: usize, rounds: u32, progress: &Progress) -> Result<Changes> {
        let name = format!("shared-{files}");
        self.put(&name, 0)?;
        let agent = self.agent(&vec![name.clone(); files])?;
        agent.until(0)?;
        // What belongs to the start is over.
        std::thread::sleep(Duration::from_secs(3));
        let before = self.requests()?;
        let mut times = Vec::new();
        for round in 1..=rounds {
            progress.say(&format!("{}: {files} files, change {round}", self.engine.name()));
            // Anywhere within the interval of whoever polls.
            std::thread::sleep(Duration::from_millis(u64::from(round) * 377 % 1000));
            let start = Instant::now();
            self.put(&name, round)?;
            agent.until(round)?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        let requests = self.requests()?.saturating_sub(before);
        let requests = requests.saturating_sub(rounds as usize) as f64 / f64::from(rounds);
        times.sort_by(f64::total_cmp);
        Ok(Changes { times, requests })
    }

    /// Requests and memory while nothing changes.
    fn rest(&self, secrets: usize, progress: &Progress) -> Result<Rest> {
        let names: Vec<String> = (0..secrets).map(|number| format!("own-{number}")).collect();
        for name in &names {
            self.put(name, 0)?;
        }
        let agent = self.agent(&names)?;
        agent.until(0)?;
        progress.say(&format!("{}: at rest", self.engine.name()));
        std::thread::sleep(Duration::from_secs(5));
        let (before, start) = (self.requests()?, Instant::now());
        let (mut resident, mut private) = (Vec::new(), Vec::new());
        while start.elapsed() < REST {
            let memory = Process(agent.child.id()).memory()?;
            resident.push(memory.rss as f64 / 1e6);
            private.push(memory.private.unwrap_or_default() as f64 / 1e6);
            std::thread::sleep(REST / 20);
        }
        let requests = self.requests()?.saturating_sub(before) as f64;
        resident.sort_by(f64::total_cmp);
        private.sort_by(f64::total_cmp);
        Ok(Rest {
            requests: requests / start.elapsed().as_secs_f64() * 3600.0,
            resident: percentile(&resident, 0.5),
            private: percentile(&private, 0.5),
        })
    }

    /// How many requests the server has recorded so far.
    fn requests(&self) -> Result<usize> {
        let log = fs::read_to_string(self.server.folder().join("audit.log"))?;
        Ok(log.lines().filter(|line| line.contains("\"type\":\"request\"")).count())
    }
}

impl Agent {
    /// Waits until every file is of this number.
    fn until(&self, number: u32) -> Result<()> {
        let start = Instant::now();
        let wanted = format!("N={number}\n");
        for index in 0..self.files {
            let file = self.folder.path().join("out").join(index.to_string());
            while !is_of(&file, &wanted) {
                if start.elapsed() > PATIENCE {
                    let log = fs::read_to_string(self.folder.path().join("agent.log"));
                    bail!("{} is not of {number}:\n{}", file.display(), log.unwrap_or_default());
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_of(file: &Path, wanted: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.ends_with(wanted))
}

/// The value below which that part of the sorted ones is.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (part, want) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(percentile(&values, part), want);
        }
        assert_eq!(percentile(&[7.0], 0.95), 7.0);
    }
}
