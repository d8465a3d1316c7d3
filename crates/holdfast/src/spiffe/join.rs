//! An agent on another machine than its server's: how it joins, and what it keeps.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use holdfast_spiffe::join::{JoinSettings, Joined, Proof, join};
use holdfast_types::{Chain, Clock, Random as _, SecretString, SystemRandom, TrustDomain};
use tokio_util::sync::CancellationToken;

use super::server::{certificates, read};

/// What the agent keeps, in its directory.
const STATE: &str = "agent.json";
/// The first wait for a server that does not answer; it doubles up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// An agent on another machine than its server's.
#[derive(Debug, Args)]
#[command(next_help_heading = "On another machine than the server's")]
pub(super) struct Join {
    /// The server's host. The agent joins it over TLS, by a join token, a certificate or a service
    /// account, and keeps an SVID of its own from then on.
    #[arg(
        long = "serverAddress",
        value_name = "HOST",
        requires_all = ["trust_domain", "trust_bundle", "data_dir"]
    )]
    server_address: Option<String>,
    /// The server's port, where its -bindAddress is.
    #[arg(
        long = "serverPort",
        value_name = "PORT",
        default_value_t = 8081,
        requires = "server_address"
    )]
    server_port: u16,
    /// The server's trust domain.
    #[arg(long = "trustDomain", value_name = "NAME", requires = "server_address")]
    trust_domain: Option<TrustDomain>,
    /// The trust domain's authorities, PEM, by which the server is known at first: what `holdfast
    /// spiffe bundle show` prints there.
    #[arg(long = "trustBundle", value_name = "FILE", requires = "server_address")]
    trust_bundle: Option<PathBuf>,
    /// Where the agent keeps its key and its SVID; made if it is not there.
    #[arg(long = "dataDir", value_name = "DIRECTORY", requires = "server_address")]
    data_dir: Option<PathBuf>,
    /// The file with a join token from `holdfast spiffe token generate`. /dev/fd/N for a descriptor
    /// that was passed on.
    #[arg(long = "joinTokenFile", value_name = "FILE", requires = "server_address")]
    join_token_file: Option<PathBuf>,
    /// The machine's certificate, with those between it and its root, PEM, to join with.
    #[arg(
        long = "x509popCert",
        value_name = "FILE",
        requires_all = ["server_address", "x509pop_key"],
        conflicts_with = "join_token_file"
    )]
    x509pop_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long = "x509popKey", value_name = "FILE", requires = "x509pop_cert")]
    x509pop_key: Option<PathBuf>,
    /// On a node of Kubernetes: what the server's -k8sPsatClusters calls the cluster. The agent joins
    /// with the token of its pod's service account, again each time it starts and at half of its SVID's
    /// life.
    #[arg(
        long = "cluster",
        value_name = "NAME",
        requires = "server_address",
        conflicts_with_all = ["join_token_file", "x509pop_cert"]
    )]
    cluster: Option<String>,
    /// The projected token for the server; read anew each time.
    #[arg(
        long = "tokenPath",
        value_name = "FILE",
        default_value = "/var/run/secrets/tokens/spire-agent",
        requires = "cluster"
    )]
    token_path: PathBuf,
}

impl Join {
    /// Joins, where the server is on another machine. Waits for one that does not answer.
    pub(super) async fn join(
        self,
        clock: Arc<dyn Clock>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Joined>> {
        let Some(settings) = self.settings()? else { return Ok(None) };
        let mut wait = RETRY.0;
        loop {
            let joining = join(settings.clone(), clock.clone());
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return Err(anyhow!("ended before it joined")),
                outcome = joining => outcome,
            };
            match outcome {
                Ok(joined) => {
                    tracing::info!(spiffe.id = joined.spiffe_id, "the agent has joined");
                    return Ok(Some(joined));
                }
                Err(error) if error.is_passing() => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(
                        server = settings.server,
                        error,
                        "the server does not answer yet"
                    );
                }
                Err(error) => return Err(error).context("join the SPIFFE server"),
            }
            let mut chance = [0];
            SystemRandom.fill(&mut chance);
            tokio::select! {
                () = shutdown.cancelled() => return Err(anyhow!("ended before it joined")),
                () = tokio::time::sleep(wait.mul_f64(0.5 + f64::from(chance[0]) / 510.0)) => {}
            }
            wait = (wait * 2).min(RETRY.1);
        }
    }

    fn settings(self) -> anyhow::Result<Option<JoinSettings>> {
        let Some(host) = &self.server_address else { return Ok(None) };
        let missing = |flag| move || anyhow!("-serverAddress needs {flag}");
        let trust_domain = self.trust_domain.clone().ok_or_else(missing("-trustDomain"))?;
        let bundle = self.trust_bundle.as_ref().ok_or_else(missing("-trustBundle"))?;
        let bundle = certificates(bundle, "-trustBundle")?;
        let directory = self.data_dir.clone().ok_or_else(missing("-dataDir"))?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.with_context(|| format!("make {}", directory.display()))?;
        // An IPv6 address is told from its port by brackets.
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        Ok(Some(JoinSettings {
            server: format!("{host}:{}", self.server_port),
            trust_domain,
            bundle,
            proof: self.proof(&directory.join(STATE))?,
            state: directory.join(STATE),
        }))
    }

    /// What to join with. The file of a token may be gone once the agent has joined.
    fn proof(self, state: &std::path::Path) -> anyhow::Result<Option<Proof>> {
        if let (Some(certificate), Some(key)) = (&self.x509pop_cert, &self.x509pop_key) {
            let chain = certificates(certificate, "-x509popCert")?;
            return Ok(Some(Proof::Certificate(chain, text(key, "-x509popKey")?)));
        }
        if let Some(cluster) = self.cluster {
            return Ok(Some(Proof::ServiceAccount { cluster, token_file: self.token_path }));
        }
        let Some(file) = &self.join_token_file else { return Ok(None) };
        match text(file, "-joinTokenFile") {
            Ok(token) => Ok(Some(Proof::Token(token))),
            Err(_) if state.exists() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The text of a file that holds a secret, without white space at its ends.
fn text(path: &std::path::Path, what: &str) -> anyhow::Result<SecretString> {
    let bytes = read(path, what)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("read {what}: not text"))?;
    Ok(SecretString::from(text.trim()))
}
