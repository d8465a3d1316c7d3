//! `holdfast up`.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_types::{Clock, SecretString, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::config::{Engine, Platform};
use super::super::control::{self, Request};
use super::super::files;
use super::super::progress::{self, Listener, Progress};
use super::super::seal::{self, SealKind};
use super::super::state::State;
use super::super::status;
use super::super::supervisor::{self, Options, Secrets};
use super::{Place, block_on};

/// `holdfast up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// Stay in the foreground, and stop the platform on Ctrl-C.
    #[arg(long)]
    foreground: bool,
    /// How a new seal key is kept [default: the TPM where there is one, otherwise a file].
    #[arg(long, value_enum)]
    seal: Option<SealKind>,
    /// Where the seal key is kept [default: /etc/holdfast as root, otherwise
    /// `$XDG_CONFIG_HOME/holdfast`].
    #[arg(long, value_name = "FILE")]
    seal_file: Option<PathBuf>,
    /// Holds the passphrase that the seal key is under.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Up {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Read here too, so that a mistake is shown with its line.
        let platform = Platform::read(&self.place.platform)?;
        let path = self.place.state_path()?;
        let state = State::create(&path)?;
        if state.lock()?.is_none() {
            let answer = self.already_up(&state);
            if answer.is_ok() || !released(&state)? {
                return answer;
            }
        }
        let secrets = self.secrets(&platform, &state)?;
        if self.foreground {
            let Self { place, seal, seal_file, .. } = self;
            return supervisor::run(Options {
                state: path,
                platform: place.platform,
                seal_file,
                seal,
                secrets,
                leaf_lifetime: None,
                authority_lifetime: None,
                listener: Listener::Person,
            });
        }
        self.detach(&state, &secrets)?;
        let now = SystemClock.now();
        let found: Option<status::Status> = block_on(control::ask(&state, &Request::Status))?;
        let found =
            found.context("the supervisor went away again; see `holdfast logs supervisor`")?;
        print!("{}", found.text(now));
        print!("{}", self.next_steps(&found));
        if let Some(worst) = found.worst {
            bail!("{}", worst.fact);
        }
        Ok(())
    }

    /// Another `up` was here first.
    fn already_up(&self, state: &State) -> anyhow::Result<()> {
        let found: Option<status::Status> = block_on(control::ask(state, &Request::Status))?;
        // What is ill about a platform that is being started is for whoever starts it.
        let found = found.filter(|found| found.ready);
        let found = found.context("another `holdfast up` is at work; see `holdfast status`")?;
        print!("{}", found.text(SystemClock.now()));
        if let Some(worst) = found.worst {
            bail!("{}", worst.fact);
        }
        println!(
            "\nIt was up already. Changed files take effect with `holdfast apply`, a changed holdfast.toml with `holdfast down` and `up`."
        );
        Ok(())
    }

    /// Starts the supervisor in a session of its own, and waits until it is ready.
    fn detach(&self, state: &State, secrets: &Secrets) -> anyhow::Result<()> {
        let logs = state.join("logs");
        files::directory(&logs, 0o700, None)?;
        let log = state.log_file("supervisor");
        // Bounded like the others: what the last supervisor said is kept, what was before is not.
        if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 4 << 20) {
            fs::rename(&log, log.with_extension("log.1"))?;
        }
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("supervise").arg(self.place.platform_path());
        command.arg("--state").arg(state.directory());
        if let Some(path) = &self.seal_file {
            command.arg("--seal-file").arg(std::path::absolute(path)?);
        }
        if let Some(kind) = self.seal {
            use clap::ValueEnum;
            let word = kind.to_possible_value().context("every kind has a word")?;
            command.arg("--seal").arg(word.get_name());
        }
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("start the supervisor")?;
        let mut line = serde_json::to_vec(secrets)?;
        child.stdin.take().context("a pipe")?.write_all(&line)?;
        zeroize::Zeroize::zeroize(&mut line);

        let pipe = child.stdout.take().context("a pipe")?;
        let bar = progress_bar();
        let end = progress::follow(pipe, |progress| match progress {
            Progress::Step(text) if bar.is_hidden() => eprintln!("{text}"),
            Progress::Step(text) => bar.set_message(text.clone()),
            Progress::Notice(text) => bar.suspend(|| eprintln!("note: {text}")),
            Progress::Ready | Progress::Failed(_) => {}
        })?;
        bar.finish_and_clear();
        match end {
            Some(Progress::Ready) => Ok(()),
            Some(Progress::Failed(why)) => {
                let _ = child.wait();
                bail!("{why}")
            }
            _ => {
                let status = child.wait()?;
                let said = super::super::logs::tail(&state.log_file("supervisor"), 5).join("\n");
                bail!("the supervisor died ({status}):\n{said}")
            }
        }
    }

    fn secrets(&self, platform: &Platform, state: &State) -> anyhow::Result<Secrets> {
        let kept = match state.record()? {
            Some(record) => seal::kind(&record.seal)?,
            None => None,
        };
        let wanted = kept.or(self.seal);
        let passphrase = match &self.passphrase_file {
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                Some(SecretString::new(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            None if wanted == Some(SealKind::Passphrase) => Some(ask_passphrase(kept.is_none())?),
            None => None,
        };
        let external = matches!(platform.vault.engine, Engine::External { .. });
        let vault_token = external.then(client_token).transpose()?.flatten();
        Ok(Secrets { passphrase, vault_token })
    }

    /// What to try now.
    fn next_steps(&self, status: &status::Status) -> String {
        let mut place = self.place.platform.display().to_string();
        if self.place.state.is_some() {
            place.push_str(&format!(" --state {}", status.state.display()));
        }
        let holdfast = std::env::args().next().unwrap_or_else(|| "holdfast".to_owned());
        format!(
            "\nNext:\n  {holdfast} login {place}\n  eval \"$({holdfast} env {place})\"\n  {holdfast} vault kv put secret/hello world=1\n  {holdfast} vault read database/creds/backend-role\n  {holdfast} down {place}\n"
        )
    }
}

/// Whether the lock is let go of within two seconds: a supervisor that was killed just now holds it
/// until the kernel has taken it apart.
fn released(state: &State) -> anyhow::Result<bool> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if state.lock()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// The token that an operator has for an external engine, where `vault` looks for it too.
fn client_token() -> anyhow::Result<Option<SecretString>> {
    for name in ["BAO_TOKEN", "VAULT_TOKEN"] {
        if let Some(token) = std::env::var(name).ok().filter(|token| !token.is_empty()) {
            return Ok(Some(SecretString::new(token)));
        }
    }
    let path = files::home()?.join(".vault-token");
    let Some(bytes) = files::read(&path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(Some(SecretString::new(text)))
}

fn ask_passphrase(new: bool) -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        bail!("the seal key is under a passphrase; give it with --passphrase-file");
    }
    let mut prompt = dialoguer::Password::new().with_prompt("Passphrase");
    if new {
        prompt = prompt.with_confirmation("Again", "They differ");
    }
    Ok(SecretString::new(prompt.interact()?))
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
