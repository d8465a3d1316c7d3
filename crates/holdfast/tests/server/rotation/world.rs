//! A database with two roles that take turns, a secret with the password of one, an agent that
//! delivers it, and consumers that never rest.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_agent::status::{self, FileState};
use holdfast_testkit::Postgres;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::delivery::world::{Agent, PATIENCE, Program, World};

/// The secret.
pub(super) const SECRET: &str = "kv/app/db";

/// Logs in for every request, with whatever the file says; tells when it has taken up a generation.
/// `$1` is its name.
const CONSUMER: &str = r#"
while [ ! -e "$1.stop" ]; do
    told=$(cat "$1.told" 2>/dev/null || echo 0)
    . "./agent/$1.env"
    if PGUSER=$U PGPASSWORD=$P psql -X -q -A -t -c 'SELECT 1' >/dev/null 2>"$1.error"; then
        echo "$U" >>"$1.served"
    else
        echo "$U, generation $told: $(cat "$1.error")" >>"$1.failed"
    fi
    echo "$told" >"$1.new"
    mv "$1.new" "$1.taken-up"
done
"#;

/// All that a rotation needs.
pub(super) struct Rotating {
    pub(super) world: World,
    pub(super) postgres: Postgres,
    pub(super) agent: Agent,
    pub(super) socket: PathBuf,
    consumers: Vec<Child>,
}

impl Rotating {
    /// Two roles, and a consumer for each of `names`.
    pub(super) async fn start(world: World, names: &[&str], more: &str) -> Self {
        let postgres = Postgres::start();
        postgres
            .psql(
                "postgres",
                "CREATE ROLE app_owner NOLOGIN;
                 CREATE ROLE app_a LOGIN PASSWORD 'first' IN ROLE app_owner;
                 CREATE ROLE app_b NOLOGIN IN ROLE app_owner;",
            )
            .unwrap();
        let admin = json!({ "username": Postgres::ADMIN, "password": postgres.admin_password() });
        world.put("admin", admin).await;
        world
            .put("app/db", json!({ "username": "app_a", "password": "first", "port": 5432 }))
            .await;
        let mut config = String::from(
            "template_config { static_secret_render_interval = \"1s\" max_connections_per_host = 4 }\n",
        );
        for name in names {
            config.push_str(&template(name, "test ! -e refuse"));
        }
        config.push_str(more);
        let agent = world.agent(Program::Ours, "agent", &config.replace("refuse", "FOLDER/refuse"));
        let socket = socket_of(&agent).await;
        let mut this = Self { world, postgres, agent, socket, consumers: Vec::new() };
        this.declare(&[("rotate_roles", "app_a,app_b")]).await;
        for name in names {
            this.consume(name);
        }
        for name in names {
            this.until(&format!("{name} to be served"), |this| {
                !this.world.text(&format!("{name}.served")).is_empty()
            });
        }
        let settled = |status: &status::Status| {
            let is_there = |file: &status::FileStatus| file.state == FileState::Current;
            status.worst().is_none() && status.files.iter().all(is_there)
        };
        this.agent.until("all consumers to be on the first generation", settled).await;
        this
    }

    /// Says in the secret's metadata how it is rotated.
    pub(super) async fn declare(&self, more: &[(&str, &str)]) {
        let connection = format!("postgresql://localhost:{}/postgres", self.postgres.port());
        let ca_file = self.postgres.ca_file().display().to_string();
        let mut metadata = json!({
            "rotate": "postgres",
            "rotate_connection": connection,
            "rotate_ca_file": ca_file,
            "rotate_admin": "kv/admin",
            "rotate_drain": "5s",
        });
        for (key, value) in more {
            metadata[*key] = (*value).into();
        }
        let body = json!({ "custom_metadata": metadata });
        self.world.root.write("kv/metadata/app/db", &body).await.unwrap();
    }

    fn consume(&mut self, name: &str) {
        let mut consumer = Command::new("sh");
        consumer.args(["-c", CONSUMER, "consumer", name]).current_dir(self.world.path("."));
        consumer.env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1");
        consumer.env("PGPORT", self.postgres.port().to_string()).env("PGDATABASE", "postgres");
        consumer.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", self.postgres.ca_file());
        consumer.env("PGAPPNAME", name).stdin(Stdio::null()).process_group(0);
        self.until("the first file", |this| this.world.path(&format!("agent/{name}.env")).exists());
        self.consumers.push(consumer.spawn().unwrap());
    }

    /// `holdfast rotate` with these words and the agent.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("rotate").args(words).arg("--agent").arg(&self.socket);
        command.arg("--no-other-agents").env("BAO_ADDR", &self.world.address);
        command.env("BAO_TOKEN", self.world.root.token().unwrap().expose());
        command.env_remove("VAULT_ADDR").env_remove("VAULT_TOKEN").env_remove("PGSSLROOTCERT");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, which has this exit code.
    pub(super) fn run(&self, words: &[&str], code: i32) -> Output {
        let output = self.command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", both(&output));
        output
    }

    /// What `rotate show` tells, as JSON.
    pub(super) fn shown(&self) -> Value {
        let output = self.command(&["show", SECRET, "--output", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)))
    }

    /// The secret as it is now: user, password, version.
    pub(super) async fn current(&self) -> (String, String, u64) {
        let read = self.world.root.read("kv/data/app/db", &[]).await.unwrap().unwrap();
        let data = read.data.unwrap();
        let text = |name: &str| data["data"][name].as_str().unwrap().to_owned();
        (text("username"), text("password"), data["metadata"]["version"].as_u64().unwrap())
    }

    /// Whether PostgreSQL lets this user in.
    pub(super) fn admits(&self, user: &str, password: &str) -> bool {
        self.postgres.psql_as(user, password, "postgres", "SELECT 1").is_ok()
    }

    /// The roles that may log in, of the two.
    pub(super) fn open_roles(&self) -> String {
        let sql = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles \
                   WHERE rolcanlogin AND rolname LIKE 'app_%'";
        self.postgres.psql("postgres", sql).unwrap()
    }

    /// Whether anything is staged.
    pub(super) async fn is_staged(&self) -> bool {
        let path = format!("kv/data/holdfast/rotation/staged/{SECRET}");
        self.world.root.read(&path, &[]).await.unwrap().is_some()
    }

    /// Requests that consumers failed in.
    pub(super) fn failed(&self, names: &[&str]) -> String {
        names.iter().map(|name| self.world.text(&format!("{name}.failed"))).collect()
    }

    pub(super) fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(start.elapsed() < PATIENCE, "waited for {what}\n{}", self.agent.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Rotating {
    fn drop(&mut self) {
        for consumer in &mut self.consumers {
            let _ = killpg(Pid::from_raw(consumer.id().cast_signed()), Signal::SIGKILL);
            let _ = consumer.wait();
        }
    }
}

/// A consumer's file: told of by a file, acknowledged by one; `and` has to hold, too.
fn template(name: &str, and: &str) -> String {
    format!(
        r#"
        template {{
          contents    = "{{{{ with secret \"kv/app/db\" }}}}U='{{{{ .Data.data.username }}}}'\nP='{{{{ .Data.data.password }}}}'\n{{{{ end }}}}"
          destination = "FOLDER/agent/{name}.env"
          perms       = "0600"
          command     = "echo $HOLDFAST_GENERATION > FOLDER/{name}.tell && mv FOLDER/{name}.tell FOLDER/{name}.told"
          acknowledge {{
            command = "{and} && test $(cat FOLDER/{name}.taken-up) -ge $HOLDFAST_GENERATION"
            timeout = "ACKNOWLEDGE"
          }}
        }}
        "#
    )
    .replace("ACKNOWLEDGE", "8s")
}

/// A file whose consumer never says that it took anything up. Its first generation it did.
pub(super) const STUCK: &str = r#"
    template {
      contents    = "{{ with secret \"kv/app/db\" }}{{ .Data.data.password }}{{ end }}"
      destination = "FOLDER/agent/stuck"
      acknowledge {
        file    = "FOLDER/stuck.taken-up"
        timeout = "1s"
      }
    }
"#;

/// Where the agent is asked.
pub(super) async fn socket_of(agent: &Agent) -> PathBuf {
    let start = Instant::now();
    loop {
        for socket in status::sockets() {
            let told = status::read(&socket).await;
            if told.is_ok_and(|status| i64::from(status.pid) == i64::from(agent.pid())) {
                return socket;
            }
        }
        assert!(start.elapsed() < PATIENCE, "no socket\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a command printed, for messages.
pub(super) fn both(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Lets the stuck consumer say that it is on the first generation.
pub(super) fn unstick(world: &World, generation: u64) {
    fs::write(world.path("stuck.taken-up"), generation.to_string()).unwrap();
}
