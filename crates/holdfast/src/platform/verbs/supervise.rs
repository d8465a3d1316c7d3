//! `holdfast supervise`: what `up` starts and leaves.

use std::io::{Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::super::progress::{Listener, Progress};
use super::super::seal::SealKind;
use super::super::supervisor::{self, Options, Secrets};

/// More cannot be a passphrase and a token, in bytes.
const LONGEST_INPUT: u64 = 64 << 10;

/// `holdfast supervise`: its secrets come on standard input, its progress goes to standard output,
/// its log to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Supervise {
    platform: PathBuf,
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    seal_file: Option<PathBuf>,
    #[arg(long, value_enum)]
    seal: Option<SealKind>,
    /// In seconds, for tests that cannot wait days for a renewal: `up` never gives it.
    #[arg(long)]
    leaf_lifetime: Option<u64>,
    /// The same for the SPIFFE server's authorities; SVIDs live a sixth of that, and a twelfth.
    #[arg(long)]
    authority_lifetime: Option<u64>,
}

impl Supervise {
    pub(super) fn run(self) -> ExitCode {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
        match self.supervise() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn supervise(self) -> anyhow::Result<()> {
        // The terminal that `up` ran in may close; this goes on.
        nix::unistd::setsid()?;
        let mut text = zeroize::Zeroizing::new(Vec::new());
        stdin().take(LONGEST_INPUT).read_to_end(&mut text)?;
        let secrets: Secrets = serde_json::from_slice(&text).map_err(|_| {
            let why = "no secrets on standard input".to_owned();
            Listener::Command.tell(&Progress::Failed(why.clone()));
            anyhow::anyhow!(why)
        })?;
        let Self { platform, state, seal_file, seal, leaf_lifetime, authority_lifetime } = self;
        let leaf_lifetime = leaf_lifetime.map(Duration::from_secs);
        let authority_lifetime = authority_lifetime.map(Duration::from_secs);
        let listener = Listener::Command;
        supervisor::run(Options {
            state,
            platform,
            seal_file,
            seal,
            secrets,
            leaf_lifetime,
            authority_lifetime,
            listener,
        })
    }
}
