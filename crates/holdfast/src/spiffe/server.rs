//! `server`: runs the SPIFFE server.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use clap::{Args, ValueEnum};
use holdfast_barrier::process::{self, Dumpable};
use holdfast_client::postgres::SecretFile;
use holdfast_client::vault::{Address, Trust, VaultClient, VaultConfig};
use holdfast_keys::Algorithm;
use holdfast_keys::x509::decode_pem;
use holdfast_spiffe::server::authority::AuthoritySettings;
use holdfast_spiffe::server::authority::upstream::{DiskUpstream, Upstream, VaultUpstream};
use holdfast_spiffe::server::federation::WebRoots;
use holdfast_spiffe::server::rules::RuleSettings;
use holdfast_spiffe::server::{
    Attestors, Audit, DeclaredIn, K8sPsat, Server as SpiffeServer, ServerSettings, Surroundings,
    X509Pop, local_agent, store,
};
use holdfast_types::{Clock, Random, SecretBytes, SystemClock, SystemRandom, TrustDomain};
use holdfast_vault::http::Inherited;
use holdfast_vault::logs::{LogFormat, Logs};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::connection::DEFAULT_SOCKET;
use super::{clusters, duration};
use crate::resident;
use crate::vault::{log_level, stop_on_signal};

/// No key and no certificate file is longer, in bytes.
const LARGEST: u64 = 1 << 20;
/// The name of a socket that was made for who reads the bundle.
pub(crate) const WEB: &str = "web";
/// How long a secrets server may take to sign an authority.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(15);

/// Run a SPIFFE server: the authorities of a trust domain, its entries and its agents.
///
/// Its certificate authorities live a day and are signed by an upstream: a platform's root, an
/// authority on disk, the pki engine of a secrets server, or else a root that the server makes itself
/// and keeps; or they sign themselves. The next key is published long before it signs, and everything
/// is kept in a store that only the seal key opens.
///
/// Operators and the agent on this machine use its Unix socket; the kernel says who they are.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  head -c 32 /dev/urandom > spiffe.key && chmod 600 spiffe.key\n  \
                  holdfast spiffe server -trustDomain demo.local -dataDir spiffe -sealKey spiffe.key\n  \
                  holdfast spiffe server -trustDomain demo.local -dataDir spiffe -sealKey /dev/fd/4 \\\n    \
                  -upstreamCert ca.pem -upstreamKey /dev/fd/5"
)]
pub(super) struct Server {
    /// The trust domain, such as demo.local.
    #[arg(long = "trustDomain", value_name = "NAME")]
    trust_domain: TrustDomain,
    /// Where the sealed store is kept; made if it is not there.
    #[arg(long = "dataDir", value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// The file with the store's key: 32 bytes, or their hex or base64. /dev/fd/N for a descriptor
    /// that was passed on.
    #[arg(long = "sealKey", value_name = "FILE")]
    seal_key: PathBuf,
    /// The Unix socket for operators and this machine's agent.
    #[arg(long = "socketPath", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket_path: PathBuf,
    /// Where agents on other machines connect, over TLS, such as 0.0.0.0:8081 [default: nowhere]
    #[arg(long = "bindAddress", value_name = "ADDRESS:PORT")]
    bind_address: Option<SocketAddr>,
    /// Authorities, PEM, whose certificates let agents on other machines join.
    #[arg(long = "x509popBundle", value_name = "FILE")]
    x509pop_bundle: Option<PathBuf>,
    /// Kubernetes clusters whose nodes may join by the tokens of service accounts, TOML.
    #[arg(long = "k8sPsatClusters", value_name = "FILE")]
    k8s_psat_clusters: Option<PathBuf>,
    /// Where the bundle (/) and OIDC discovery are read, over TLS. A service manager can make the
    /// socket (`LISTEN_FDS`, under the name web); -webAddress then only says where it is [default:
    /// nowhere]
    #[arg(long = "webAddress", value_name = "ADDRESS:PORT")]
    web_address: Option<SocketAddr>,
    /// A DNS name of the server's, for its certificate; can be given several times.
    #[arg(long = "dnsName", value_name = "NAME")]
    dns_names: Vec<String>,
    /// A directory of `ClusterSPIFFEID` and `ClusterStaticEntry` (*.yaml). Changes are taken over; a file
    /// that is wrong changes nothing. SIGHUP has them read at once.
    #[arg(long, value_name = "DIRECTORY")]
    identity: Option<PathBuf>,
    /// The workloads that `ClusterSPIFFEID` is for: a YAML list of name, namespace, serviceAccount,
    /// labels, annotations and selectors.
    #[arg(long, value_name = "FILE")]
    workloads: Option<PathBuf>,
    /// `.ClusterName` of the templates.
    #[arg(long = "clusterName", value_name = "NAME", default_value = "holdfast")]
    cluster_name: String,
    /// `.ClusterDomain` of the templates.
    #[arg(long = "clusterDomain", value_name = "NAME", default_value = "cluster.local")]
    cluster_domain: String,
    /// A user besides root and the server's own whose agent is this machine's; can be given several
    /// times.
    #[arg(long = "agentUser", value_name = "USER", value_parser = user)]
    agent_users: Vec<u32>,
    /// The certificate of the authority above the server's, PEM, with those between it and its
    /// root [default: a root of the server's own]
    #[arg(long = "upstreamCert", value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long = "upstreamKey", value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
    /// Its root, PEM, where it is none itself.
    #[arg(long = "upstreamBundle", value_name = "FILE", requires = "upstream_cert")]
    upstream_bundle: Option<PathBuf>,
    /// Each authority signs itself and is in the bundle, as with SPIRE's server that has no upstream:
    /// chains of one certificate, and a bundle that changes with every authority, so that all who
    /// verify must follow it.
    #[arg(long = "selfSigned", conflicts_with_all = ["upstream_cert", "upstream_vault"])]
    self_signed: bool,
    /// A secrets server whose pki engine is the authority above the server's, such as
    /// `https://vault.local:8200`, ours or OpenBao.
    #[arg(
        long = "upstreamVault",
        value_name = "URL",
        requires = "upstream_vault_token",
        conflicts_with = "upstream_cert"
    )]
    upstream_vault: Option<Address>,
    /// Where the engine is mounted.
    #[arg(
        long = "upstreamVaultMount",
        value_name = "PATH",
        default_value = "pki",
        requires = "upstream_vault"
    )]
    upstream_vault_mount: String,
    /// The file with its token, which may update <mount>/root/sign-intermediate; read anew each time.
    #[arg(long = "upstreamVaultTokenFile", value_name = "FILE", requires = "upstream_vault")]
    upstream_vault_token: Option<PathBuf>,
    /// Who certifies it, PEM [default: whom the system trusts]
    #[arg(long = "upstreamVaultCACert", value_name = "FILE", requires = "upstream_vault")]
    upstream_vault_ca: Option<PathBuf>,
    /// Who certifies the bundle endpoints of other trust domains that are known by their names, PEM
    /// [default: whom the system trusts]
    #[arg(long = "federationCACert", value_name = "FILE")]
    federation_ca: Option<PathBuf>,
    /// Life of the server's authorities.
    #[arg(long = "caTTL", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    ca_ttl: Duration,
    /// Life of X.509-SVIDs whose entry does not say.
    #[arg(long = "x509SVIDTTL", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    x509_ttl: Duration,
    /// Life of JWT-SVIDs whose entry does not say.
    #[arg(long = "jwtSVIDTTL", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    jwt_ttl: Duration,
    /// Who issues JWT-SVIDs, for OIDC discovery: an https URL.
    #[arg(long = "jwtIssuer", value_name = "URL")]
    jwt_issuer: Option<String>,
    /// A supervisor brings the keys of JWT-SVIDs to somebody who cannot fetch them: the next one signs
    /// once the supervisor said that it is there, or when no other key can.
    #[arg(long = "jwtKeysAreBrought", hide = true)]
    jwt_keys_are_brought: bool,
    /// The keys that sign JWT-SVIDs.
    #[arg(long = "jwtKeyType", value_name = "TYPE", default_value = "ec-p256")]
    jwt_key_type: JwtKeyType,
    /// Write who asked for what to this file.
    #[arg(long = "auditLog", value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// How much to log: trace, debug, info, warn or error.
    #[arg(long = "logLevel", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// How to log.
    #[arg(long = "logFormat", value_name = "FORMAT", default_value = "standard")]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum JwtKeyType {
    /// ES256
    #[value(name = "ec-p256")]
    EcP256,
    /// ES384
    #[value(name = "ec-p384")]
    EcP384,
    /// RS256
    #[value(name = "rsa-2048")]
    Rsa2048,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Standard,
    Json,
}

impl Server {
    /// Runs until a signal ends it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let protected = process::protect(Dumpable::No);
        // Before anything opens a descriptor that could be taken for it.
        let web = Inherited::take_from_environment().take(WEB);
        holdfast_keys::ready_randomness();
        let level = log_level(&self.log_level)
            .ok_or_else(|| anyhow!("-logLevel is one of trace, debug, info, warn and error"))?;
        let format = match self.log_format {
            Format::Standard => LogFormat::Standard,
            Format::Json => LogFormat::Json,
        };
        Logs::install(level, format, None, Arc::new(SystemClock)).context("write the log")?;
        if let Err(error) = protected {
            tracing::warn!(%error, "this process's memory is not kept from others");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve(web.map(TcpListener::from)))
    }

    async fn serve(self, web: Option<TcpListener>) -> anyhow::Result<()> {
        let shutdown = CancellationToken::new();
        stop_on_signal(&shutdown).context("listen for signals")?;
        let mut hangup = signal(SignalKind::hangup()).context("listen for signals")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let seal_key = SecretBytes::new(read(&self.seal_key, "the seal key")?.to_vec());
        let barrier =
            store::open_sealed(&self.data_dir, &seal_key, clock.clone(), random.clone()).await?;
        let upstream: Option<Arc<dyn Upstream>> = match (self.upstream()?, self.upstream_vault()?) {
            (Some(upstream), _) => Some(Arc::new(upstream)),
            (None, Some(upstream)) => Some(Arc::new(upstream)),
            (None, None) if self.self_signed => None,
            (None, None) => {
                let entries = barrier.clone();
                let root = store::own_root(entries, &self.trust_domain, &*clock, &*random).await?;
                Some(Arc::new(root))
            }
        };
        let audit =
            Audit::open(self.audit_log.as_deref(), clock.clone()).context("open the audit log")?;
        let attestors = self.attestors()?;
        let settings = self.settings()?;
        let with = Surroundings {
            entries: barrier.clone(),
            upstream,
            audit,
            attestors,
            clock,
            random,
            web,
        };
        let server = SpiffeServer::build(settings, with).await?;
        for (what, address) in
            [("agents", server.node_address()), ("bundle and discovery", server.web_address())]
        {
            if let Some(address) = address {
                tracing::info!(%address, what, "listening");
            }
        }
        tokio::spawn(resident::settle());
        let reread = server.reread();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reread.notify_one();
            }
        });
        server.run(shutdown).await;
        barrier.close().await.context("close the store")
    }

    fn upstream(&self) -> anyhow::Result<Option<DiskUpstream>> {
        let (Some(certificate), Some(key)) = (&self.upstream_cert, &self.upstream_key) else {
            return Ok(None);
        };
        let text = |path, what| {
            let bytes = read(path, what)?;
            String::from_utf8(bytes.to_vec()).with_context(|| format!("read {what}: not text"))
        };
        let certificate = text(certificate, "the upstream's certificate")?;
        let key = text(key, "the upstream's key")?.into();
        let bundle = self.upstream_bundle.as_ref();
        let bundle = bundle.map(|path| text(path, "the upstream's bundle")).transpose()?;
        let upstream = DiskUpstream::from_pem(&certificate, &key, bundle.as_deref())
            .context("use the upstream authority")?;
        Ok(Some(upstream))
    }

    fn upstream_vault(&self) -> anyhow::Result<Option<VaultUpstream>> {
        let (Some(address), Some(token)) = (&self.upstream_vault, &self.upstream_vault_token)
        else {
            return Ok(None);
        };
        let mut config = VaultConfig::new(address.clone());
        config.timeout = UPSTREAM_LIMIT;
        if let Some(authority) = &self.upstream_vault_ca {
            config.trust = Trust::File(authority.clone());
        }
        let client = VaultClient::new(&config).context("use -upstreamVault")?;
        Ok(Some(VaultUpstream::new(client, &*self.upstream_vault_mount, SecretFile(token.clone()))))
    }

    /// By what nodes may join besides tokens.
    fn attestors(&self) -> anyhow::Result<Attestors> {
        let x509pop = self.x509pop_bundle.as_ref().map(|path| {
            let roots = certificates(path, "-x509popBundle")?;
            X509Pop::new(roots).context("use -x509popBundle")
        });
        let k8s_psat = self.k8s_psat_clusters.as_ref().map(|path| {
            let clusters = clusters::read(path).context("use -k8sPsatClusters")?;
            K8sPsat::new(clusters).context("use -k8sPsatClusters")
        });
        Ok(Attestors { x509pop: x509pop.transpose()?, k8s_psat: k8s_psat.transpose()? })
    }

    fn settings(self) -> anyhow::Result<ServerSettings> {
        for (name, ttl) in [
            ("-caTTL", self.ca_ttl),
            ("-x509SVIDTTL", self.x509_ttl),
            ("-jwtSVIDTTL", self.jwt_ttl),
        ] {
            ensure!(!ttl.is_zero(), "{name} is zero");
        }
        if self.x509_ttl.max(self.jwt_ttl) > self.ca_ttl / 6 {
            tracing::warn!("SVIDs with more than a sixth of -caTTL may end sooner than asked for");
        }
        let web_roots = match &self.federation_ca {
            Some(path) => WebRoots::These(certificates(path, "-federationCACert")?),
            None => WebRoots::System,
        };
        let parent = local_agent(&self.trust_domain).context("the trust domain is too long")?;
        let declared = DeclaredIn {
            rules: self.identity,
            workloads: self.workloads,
            settings: RuleSettings {
                trust_domain: self.trust_domain.clone(),
                cluster: self.cluster_name,
                cluster_domain: self.cluster_domain,
                parent,
            },
        };
        Ok(ServerSettings {
            socket: self.socket_path,
            node_address: self.bind_address,
            web_address: self.web_address,
            dns_names: self.dns_names,
            declared,
            web_roots,
            agent_uids: BTreeSet::from_iter(self.agent_users),
            authorities: AuthoritySettings {
                trust_domain: self.trust_domain.clone(),
                life: self.ca_ttl,
                jwt_algorithm: match self.jwt_key_type {
                    JwtKeyType::EcP256 => Algorithm::Es256,
                    JwtKeyType::EcP384 => Algorithm::Es384,
                    JwtKeyType::Rsa2048 => Algorithm::Rs256,
                },
                jwt_issuer: self.jwt_issuer,
                jwt_keys_are_brought: self.jwt_keys_are_brought,
                // A third of its life passes from a key's publication to its first use.
                refresh_hint: (self.ca_ttl / 12).min(Duration::from_secs(300)),
            },
            x509_ttl: self.x509_ttl,
            jwt_ttl: self.jwt_ttl,
            agent_ttl: self.x509_ttl,
            trust_domain: self.trust_domain,
        })
    }
}

/// The certificates in a PEM file, DER: at least one.
pub(super) fn certificates(path: &Path, what: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    certificates_in(&read(path, what)?, path, what)
}

/// The same of what was read from `path` already.
pub(super) fn certificates_in(
    bytes: &[u8],
    path: &Path,
    what: &str,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut text = std::str::from_utf8(bytes).with_context(|| format!("read {what}: not text"))?;
    let mut found = Vec::new();
    while let Some((block, rest)) = decode_pem(text) {
        found.push(block.der.to_vec());
        text = rest;
    }
    ensure!(!found.is_empty(), "{} holds no certificate", path.display());
    Ok(found)
}

/// A file that may be a descriptor, and may hold a key.
pub(super) fn read(path: &Path, what: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let context = || format!("read {what} from {}", path.display());
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let file = File::open(path).with_context(context)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).with_context(context)?;
    ensure!(bytes.len() as u64 <= LARGEST, "{} is too long", context());
    Ok(bytes)
}

/// A user by name or number.
fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err("no such user".to_owned()),
    }
}
