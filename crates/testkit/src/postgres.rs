//! A real PostgreSQL that a test starts and throws away.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Gid, Uid, User};

use crate::Ca;

/// How a test's server differs from the usual one.
#[derive(Default)]
pub struct PostgresSettings {
    /// Settings on the server's command line, such as `("log_statement", "all")`.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Lines of `pg_hba.conf` that come before the usual ones, which ask everyone for a password
    /// by SCRAM.
    pub hba: Vec<&'static str>,
    /// The names in the server's certificate; `localhost` and `127.0.0.1` when empty.
    pub names: Vec<&'static str>,
}

/// A running server with a data directory, a certificate authority and a port of its own.
///
/// It listens on 127.0.0.1 and on a Unix socket, with TLS. A shell owns it and waits for this
/// process to close a pipe: so the server and its directory are gone when this value is dropped,
/// and also when the test's process ends in any other way.
pub struct Postgres {
    directory: PathBuf,
    port: u16,
    ca: Ca,
    keeper: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

/// Runs the server for as long as standard input is open. `$1` is the directory to remove in the
/// end, the rest is the server's command line. Each word on standard input is done when it is
/// answered.
const KEEPER: &str = r#"
directory=$1
shift
pid=
while read -r word; do
    case $word in
    start) "$@" </dev/null >>"$directory/log" 2>&1 & pid=$! ;;
    stop) kill -INT "$pid"; wait "$pid"; pid= ;;
    crash) kill -QUIT "$pid"; wait "$pid"; pid= ;;
    esac
    echo "$word"
done
[ -z "$pid" ] || { kill -QUIT "$pid"; wait "$pid"; }
rm -rf "$directory"
"#;

const START_LIMIT: Duration = Duration::from_secs(60);
const ADMIN_PASSWORD: &str = "admin password of a test";

impl Postgres {
    /// The superuser's name.
    pub const ADMIN: &'static str = "postgres";

    /// Starts a server. As root it runs as user `postgres`, otherwise as the caller.
    ///
    /// # Panics
    /// When PostgreSQL is missing or does not start: a test that needs it must not pass without.
    pub fn start() -> Self {
        Self::start_with(&PostgresSettings::default())
    }

    /// Starts a server with settings of its own.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn start_with(settings: &PostgresSettings) -> Self {
        // The port is free when it is chosen, but another process can take it before the server
        // does.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(settings) {
                Ok(postgres) => return postgres,
                Err(error) if attempts < 3 && format!("{error:#}").contains("already in use") => {}
                Err(error) => panic!("a test needs PostgreSQL 15 or later: {error:#}"),
            }
        }
    }

    fn try_start(settings: &PostgresSettings) -> Result<Self> {
        let programs = programs()?;
        let owner = Owner::find()?;
        let directory = tempfile::Builder::new().prefix("holdfast-postgres-").tempdir()?;
        owner.give(directory.path())?;
        let path = directory.path().to_owned();
        let data = path.join("data");

        let password = path.join("password");
        owner.write(&password, ADMIN_PASSWORD)?;
        let mut initdb = owner.command(programs.join("initdb"), &path);
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["--username", Self::ADMIN, "--auth", "scram-sha-256"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]);
        let output = initdb.output().context("run initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let ca = Ca::new("PostgreSQL test CA");
        let names: &[_] = match settings.names.as_slice() {
            [] => &["localhost", "127.0.0.1"],
            names => names,
        };
        let leaf = ca.server(names);
        owner.write(&data.join("server.crt"), &leaf.certificate_pem)?;
        owner.write(&data.join("server.key"), &leaf.key_pem)?;
        owner.write(&path.join("ca.pem"), ca.pem())?;
        let mut hba = settings.hba.join("\n");
        hba.push_str("\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
        owner.write(&data.join("pg_hba.conf"), &hba)?;

        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut keeper = owner.command("sh", &path);
        keeper.args(["-c", KEEPER, "keeper"]).arg(&path).arg(programs.join("postgres"));
        keeper.arg("-D").arg(&data).arg("-k").arg(&path).arg("-p").arg(port.to_string());
        let ca_file = path.join("ca.pem").display().to_string();
        let usual = [
            ("listen_addresses", "127.0.0.1"),
            ("ssl", "on"),
            ("ssl_ca_file", &ca_file),
            // Nothing here outlives the test, so nothing needs to reach the disk.
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("max_connections", "60"),
            ("shared_buffers", "16MB"),
        ];
        for (name, value) in usual.iter().chain(&settings.settings) {
            keeper.arg("-c").arg(format!("{name}={value}"));
        }
        // A group of its own: Ctrl-C at the terminal reaches the test, and by it the keeper.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().context("start the server's keeper")?;
        let commands = keeper.stdin.take();
        let replies = keeper.stdout.take().context("the keeper's output is a pipe")?;
        let mut postgres = Self {
            directory: directory.keep(),
            port,
            ca,
            keeper,
            commands,
            replies: BufReader::new(replies),
        };
        postgres.resume()?;
        Ok(postgres)
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::crash`], on the same port.
    pub fn resume(&mut self) -> Result<()> {
        self.tell("start")?;
        let deadline = Instant::now() + START_LIMIT;
        // The server itself says in this file's last line when it takes connections.
        let state = self.directory.join("data/postmaster.pid");
        while !fs::read_to_string(&state).is_ok_and(|text| text.contains("\nready")) {
            let log = self.log();
            ensure!(Instant::now() < deadline, "PostgreSQL was not ready in time:\n{log}");
            ensure!(!log.contains("FATAL:  could not"), "PostgreSQL did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Stops it: sessions are ended, data is written, connections are refused from here on.
    pub fn stop(&mut self) -> Result<()> {
        self.tell("stop")
    }

    /// Stops it at once, as a crash of the machine would. It recovers when resumed.
    pub fn crash(&mut self) -> Result<()> {
        self.tell("crash")
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the keeper is gone")?;
        writeln!(commands, "{word}")?;
        commands.flush()?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        ensure!(reply.trim_end() == word, "the keeper answered {reply:?} to {word:?}");
        Ok(())
    }

    /// The port on 127.0.0.1, which is also in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The superuser's password.
    pub fn admin_password(&self) -> &'static str {
        ADMIN_PASSWORD
    }

    /// The authority that signed the server's certificate, and which it trusts for clients.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The authority's certificate as a file.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// All that the server has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs `sql` as the superuser in `database` and returns what `psql` prints: unaligned rows
    /// without headers, `|` between columns.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as(Self::ADMIN, ADMIN_PASSWORD, database, sql)
    }

    /// The same as another user, by TCP with verified TLS.
    pub fn psql_as(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String> {
        let output = self.psql_command(user, password, database).args(["-c", sql]).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// `psql` with its connection set, by TCP with verified TLS, for a test that talks to it.
    pub fn psql_command(&self, user: &str, password: &str, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        psql.env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1");
        psql.env("PGPORT", self.port.to_string()).env("PGDATABASE", database);
        psql.env("PGUSER", user).env("PGPASSWORD", password);
        psql.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", self.ca_file());
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.keeper.wait();
    }
}

/// Where `initdb` and `postgres` are: what `pg_config` says, else Debian's newest.
fn programs() -> Result<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()));
    let mut debian: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        if let Ok(version) = entry.file_name().to_string_lossy().parse() {
            debian.push((version, entry.path().join("bin")));
        }
    }
    debian.sort();
    let mut candidates = asked.into_iter().chain(debian.into_iter().rev().map(|(_, path)| path));
    candidates
        .find(|path| path.join("initdb").is_file() && path.join("postgres").is_file())
        .context("neither pg_config nor /usr/lib/postgresql names a directory with initdb in it")
}

/// The user that the server runs as: it refuses root.
struct Owner(Option<(Uid, Gid)>);

impl Owner {
    fn find() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        let user = User::from_name("postgres")?.context("there is no user postgres")?;
        Ok(Self(Some((user.uid, user.gid))))
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some((uid, gid)) => chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                .with_context(|| format!("give {} to postgres", path.display())),
        }
    }

    /// Writes a file that only the owner can read, except certificates, which are public.
    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        self.give(path)?;
        if path.extension().is_some_and(|extension| extension == "pem") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    fn command(&self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LC_ALL", "C").env("TZ", "UTC");
        if let Some((uid, gid)) = self.0 {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_takes_verified_connections_stops_resumes_and_leaves_nothing() {
        let mut postgres = Postgres::start();
        let sql = "select current_user, ssl, split_part(version, 'v', 2) from pg_stat_ssl \
                   where pid = pg_backend_pid()";
        assert_eq!(postgres.psql("postgres", sql).unwrap(), "postgres|t|1.3");
        let wrong = postgres.psql_as("postgres", "wrong", "postgres", "select 1").unwrap_err();
        assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");

        postgres.stop().unwrap();
        assert!(postgres.psql("postgres", "select 1").is_err());
        postgres.resume().unwrap();
        assert_eq!(postgres.psql("postgres", "select 1").unwrap(), "1");

        let (directory, port) = (postgres.directory.clone(), postgres.port);
        drop(postgres);
        assert!(!directory.exists());
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
