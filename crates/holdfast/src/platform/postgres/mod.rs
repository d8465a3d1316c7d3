//! The real PostgreSQL, made and run for one platform.
//!
//! Its superuser `postgres` has no password: it is reached over a Unix socket alone, by the uid
//! that runs the server and by the supervisor's. So there is no first password to keep or to lose,
//! and whatever a crash interrupts, the next start mends over that socket.

mod connections;
mod databases;
mod last;
mod programs;
mod settings;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tokio_postgres::{Client, NoTls};

use super::account::Account;
use super::config;
use super::files;
use super::launch::{Launch, MARK};
use super::part::{PartPlan, Prepare, Probe};
use super::state::State;

pub(crate) use connections::Connections;
pub(crate) use programs::Programs;

/// What the part is called.
pub(crate) const NAME: &str = "postgres";
/// The superuser, whom only the Unix socket lets in.
const SUPERUSER: &str = "postgres";

/// The server of one platform.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) programs: Programs,
    pub(crate) account: Account,
    /// Where clients reach it.
    pub(crate) address: SocketAddr,
    state: PathBuf,
    data: PathBuf,
    /// Where its socket and its certificate are: on the tmpfs.
    pub(crate) runtime: PathBuf,
}

impl Server {
    /// Finds PostgreSQL and the user it runs as, and makes its directories.
    ///
    /// # Errors
    /// PostgreSQL is missing or too old; root without a user `postgres`; a caller without a name.
    pub(crate) fn prepare(
        state: &State,
        secrets: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let account = if Uid::effective().is_root() {
            Account::named("postgres")
                .context("PostgreSQL refuses to run as root and needs the user postgres; install the package postgresql")?
        } else {
            let account = Account::caller();
            ensure!(
                !account.name.starts_with("uid "),
                "{} has no entry in /etc/passwd, without which initdb refuses to work; run this as a named user",
                account.name
            );
            account
        };
        let directory = state.join("postgres");
        files::directory(&directory, 0o700, Some(&account))?;
        let runtime = secrets.join(NAME);
        files::directory(
            &runtime,
            if account.is_caller() { 0o700 } else { 0o711 },
            Some(&account),
        )?;
        let socket = runtime.join(format!(".s.PGSQL.{}", address.port()));
        ensure!(
            socket.as_os_str().len() < 108,
            "{} is too long for a Unix socket (107 bytes); choose a shorter --state",
            socket.display()
        );
        let state = state.directory().to_owned();
        Ok(Self { programs, account, address, state, data: directory.join("data"), runtime })
    }

    /// Makes the data directory, unless there is one. A crash in between leaves none.
    pub(crate) async fn initialise(&self) -> anyhow::Result<()> {
        if self.data.exists() {
            let version = fs::read_to_string(self.data.join("PG_VERSION")).with_context(|| {
                format!("{} is no PostgreSQL data directory", self.data.display())
            })?;
            let found = self.programs.version.split('.').next().unwrap_or_default();
            ensure!(
                version.trim() == found,
                "{} was made by PostgreSQL {}, and PostgreSQL {found} is installed; install {} again, or move the data with pg_upgrade",
                self.data.display(),
                version.trim(),
                version.trim()
            );
            return Ok(());
        }
        let fresh = self.data.with_extension("new");
        files::remove_directory(&fresh)?;
        let mut launch = self.launch(self.programs.directory.join("initdb"));
        launch.arguments = vec!["--pgdata".into(), fresh.clone().into()];
        launch.arguments.extend(
            [
                "--username=postgres",
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
                "--no-instructions",
            ]
            .map(Into::into),
        );
        launch.run().await.context("make PostgreSQL's data directory")?;
        fs::rename(&fresh, &self.data)?;
        Ok(())
    }

    /// Writes the server's settings and who may connect.
    pub(crate) fn configure(&self, config: &config::Postgres) -> anyhow::Result<()> {
        let write = |name: &str, text: String| {
            let path = self.data.join(name);
            files::write(&path, text.as_bytes(), 0o600, Some(&self.account))
                .with_context(|| format!("write {}", path.display()))
        };
        write("postgresql.conf", settings::main(self, config))?;
        // Settings that somebody made with ALTER SYSTEM would override ours without a trace.
        write("postgresql.auto.conf", String::new())?;
        write("pg_hba.conf", settings::hba(config))?;
        write("pg_ident.conf", settings::ident(&self.account, &Account::caller()))
    }

    /// How the server is run.
    pub(crate) fn plan(&self) -> PartPlan {
        let mut launch = self.launch(self.programs.directory.join("postgres"));
        launch.arguments = vec!["-D".into(), self.data.clone().into()];
        // "Immediate": it ends its children and itself at once, and recovers at the next start.
        launch.death_signal = Signal::SIGQUIT;
        let server = Arc::new(self.clone());
        let prepare: Prepare = {
            let server = server.clone();
            Box::new(move || last::check(&server.data))
        };
        let probe: Probe = Arc::new(move || {
            let server = server.clone();
            Box::pin(async move { server.connect("postgres").await.map(drop) })
        });
        PartPlan {
            name: NAME.to_owned(),
            launch,
            prepare,
            probe,
            // "Fast": sessions are ended, everything is written.
            stop_signal: Signal::SIGINT,
            patience: Duration::from_secs(30),
        }
    }

    /// Waits until no server of the last run has the data.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) async fn wait_for_the_last(&self) -> anyhow::Result<()> {
        last::wait(&self.data).await
    }

    /// A session as superuser, over the Unix socket.
    pub(crate) async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.runtime).port(self.address.port());
        config.user(SUPERUSER).dbname(database).application_name("holdfast");
        config.connect_timeout(Duration::from_secs(5));
        // "Already exists, skipping" is what every start but the first expects.
        config.options("-c client_min_messages=warning");
        let (client, connection) = config
            .connect(NoTls)
            .await
            .with_context(|| format!("connect to PostgreSQL's database {database}"))?;
        // Ends with the client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// The address and port that clients on this machine reach it by.
    pub(crate) fn dialled(&self) -> SocketAddr {
        SocketAddr::new(settings::dialled(self.address.ip()), self.address.port())
    }

    fn launch(&self, program: PathBuf) -> Launch {
        Launch {
            program,
            arguments: Vec::new(),
            environment: vec![
                (MARK.to_owned(), self.state.clone().into()),
                ("PATH".to_owned(), "/usr/bin:/bin".into()),
                ("LC_ALL".to_owned(), "C".into()),
                ("PGTZ".to_owned(), "UTC".into()),
            ],
            directory: "/".into(),
            account: self.account.clone(),
            death_signal: Signal::SIGKILL,
            secrets: None,
            inherit: Vec::new(),
            socket: None,
            confinement: None,
            cgroup: None,
            introduced: None,
        }
    }
}
