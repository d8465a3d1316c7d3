//! A server in the test's process.

use super::*;

/// A server in a directory of its own.
pub(super) struct Running {
    pub(super) directory: tempfile::TempDir,
    pub(super) entries: Arc<hostile::Gated>,
    pub(super) root: (String, holdfast_types::SecretString),
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
    pub(super) nodes: Option<SocketAddr>,
    /// Certifies machines.
    pub(super) nodes_ca: holdfast_testkit::Ca,
    web: Option<SocketAddr>,
    /// Whose nodes may join, and how long each may take to be asked.
    pub(super) clusters: Vec<ClusterSettings>,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::start_with(Vec::new(), Duration::from_secs(15)).await
    }

    pub(super) async fn start_by(clock: Arc<dyn Clock>) -> Self {
        Self::start_all(Vec::new(), Duration::from_secs(15), clock).await
    }

    pub(super) async fn start_with(clusters: Vec<ClusterSettings>, limit: Duration) -> Self {
        Self::start_all(clusters, limit, Arc::new(SystemClock)).await
    }

    async fn start_all(
        clusters: Vec<ClusterSettings>,
        limit: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let domain = TrustDomain::parse("demo.local").unwrap();
        let now = SystemClock.now();
        let root = DiskUpstream::make_root(&domain, 365 * DAY, now, &SystemRandom).unwrap();
        let mut running = Self {
            directory: tempfile::tempdir().unwrap(),
            entries: Arc::default(),
            root,
            shutdown: CancellationToken::new(),
            task: None,
            nodes: None,
            nodes_ca: holdfast_testkit::Ca::new("machines"),
            web: None,
            clusters,
            limit,
            clock,
        };
        std::fs::create_dir(running.directory.path().join("identity")).unwrap();
        std::fs::write(running.directory.path().join("workloads.yaml"), "").unwrap();
        running.restart().await;
        running
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.shutdown = CancellationToken::new();
        let trust_domain = TrustDomain::parse("demo.local").unwrap();
        let settings = ServerSettings {
            socket: self.socket(),
            // The same one after a restart.
            node_address: self.nodes.or_else(|| "127.0.0.1:0".parse().ok()),
            web_address: Some("127.0.0.1:0".parse().unwrap()),
            dns_names: vec!["localhost".to_owned()],
            web_roots: WebRoots::default(),
            agent_uids: BTreeSet::new(),
            declared: DeclaredIn {
                rules: Some(self.directory.path().join("identity")),
                workloads: Some(self.directory.path().join("workloads.yaml")),
                settings: rules::RuleSettings {
                    trust_domain: trust_domain.clone(),
                    cluster: "demo".to_owned(),
                    cluster_domain: "cluster.local".to_owned(),
                    parent: local_agent(&trust_domain).unwrap(),
                },
            },
            authorities: AuthoritySettings {
                trust_domain: trust_domain.clone(),
                life: DAY,
                jwt_algorithm: Algorithm::Es256,
                jwt_issuer: Some("https://spiffe.demo.local".to_owned()),
                jwt_keys_are_brought: false,
                refresh_hint: Duration::from_secs(300),
            },
            x509_ttl: Duration::from_secs(3600),
            jwt_ttl: Duration::from_secs(300),
            agent_ttl: Duration::from_secs(3600),
            trust_domain,
        };
        let (certificate, key) = &self.root;
        let clock = self.clock.clone();
        let log = self.directory.path().join("audit.log");
        let with = Surroundings {
            entries: self.entries.clone(),
            upstream: Some(Arc::new(DiskUpstream::from_pem(certificate, key, None).unwrap())),
            audit: Audit::open(Some(&log), clock.clone()).unwrap(),
            attestors: Attestors {
                x509pop: Some(X509Pop::new(vec![self.nodes_ca.der().to_vec()]).unwrap()),
                k8s_psat: Some(K8sPsat::new(self.clusters.clone()).unwrap().within(self.limit)),
            },
            clock,
            random: Arc::new(SystemRandom),
            web: None,
        };
        let server = Server::build(settings, with).await.unwrap();
        (self.nodes, self.web) = (server.node_address(), server.web_address());
        self.task = Some(tokio::spawn(server.run(self.shutdown.clone())));
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    /// What everybody may read, by TLS that trusts the root.
    pub(super) async fn get(&self, path: &str) -> Result<serde_json::Value, String> {
        let root = self.directory.path().join("root.pem");
        std::fs::write(&root, &self.root.0).unwrap();
        let mut command = tokio::process::Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--cacert"]);
        command.arg(&root).arg(format!("https://localhost:{}{path}", self.web.unwrap().port()));
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).map_err(|_| said)
    }

    pub(super) fn audited(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap()
    }
}
