//! Nodes of a fake cluster.

use std::path::Path;

use holdfast_testkit::{FakeClock, FakeCluster};
use serde_json::{Value, json};

use super::*;
use crate::join::{JoinError, JoinSettings, Joined, Proof};

const POD: &str = "/api/v1/namespaces/spire/pods/spire-agent-x7k2p";
const NODE: &str = "/api/v1/nodes/node-1.internal";
const POD_UID: &str = "79261129-6b60-11e9-9054-0800277ac80f";
const NODE_UID: &str = "5dbb7b21-65fe-11e9-b1b0-0800277ac80f";
const AGENT: &str =
    "spiffe://demo.local/spire/agent/k8s_psat/prod/5dbb7b21-65fe-11e9-b1b0-0800277ac80f";
const REVIEW: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";

/// A cluster with a node, and on it the pod of an agent.
struct World {
    cluster: FakeCluster,
    folder: tempfile::TempDir,
    running: Running,
}

impl World {
    async fn start(limit: Duration) -> Self {
        let (cluster, folder) = (FakeCluster::start().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("ca.crt"), cluster.ca_pem()).unwrap();
        std::fs::write(at("reviewer"), "reviewer\n").unwrap();
        cluster.put(POD, pod());
        cluster.put(NODE, node());
        let set = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        let settings = ClusterSettings {
            name: "prod".to_owned(),
            url: cluster.url(),
            ca_file: at("ca.crt"),
            token_file: at("reviewer"),
            service_accounts: set(&["spire:spire-agent"]),
            audiences: vec!["spire-server".to_owned()],
            node_label_keys: set(&["topology.kubernetes.io/zone"]),
            pod_label_keys: set(&["app"]),
        };
        let running = Running::start_with(vec![settings], limit).await;
        Self { cluster, folder, running }
    }

    fn write_token(&self, claims: &Value) -> String {
        let token = FakeCluster::token(claims);
        std::fs::write(self.folder.path().join("token"), format!("{token}\n")).unwrap();
        token
    }

    fn settings(&self, state: &str) -> JoinSettings {
        let token_file = self.folder.path().join("token");
        let proof = Proof::ServiceAccount { cluster: "prod".to_owned(), token_file };
        JoinSettings { proof: Some(proof), ..joining(&self.running, state, None) }
    }

    async fn join(&self, state: &str) -> Result<Joined, JoinError> {
        crate::join::join(self.settings(state), Arc::new(SystemClock)).await
    }

    async fn refusal(&self) -> String {
        self.join("refused").await.err().expect("it is refused").to_string()
    }

    fn reviews(&self) -> usize {
        self.cluster.asked().iter().filter(|(asked, _)| asked == REVIEW).count()
    }
}

fn claims() -> Value {
    json!({
        "aud": ["spire-server"], "good": true, "sub": "system:serviceaccount:spire:spire-agent",
        "kubernetes.io": {
            "namespace": "spire",
            "node": { "name": "node-1.internal", "uid": NODE_UID },
            "pod": { "name": "spire-agent-x7k2p", "uid": POD_UID },
            "serviceaccount": { "name": "spire-agent", "uid": "1" },
        },
    })
}

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "metadata": { "uid": POD_UID, "labels": { "app": "agent", "hash": "1" } },
        "spec": { "nodeName": "node-1.internal", "serviceAccountName": "spire-agent" },
        "status": { "hostIP": "172.16.10.1" },
    })
}

fn node() -> Value {
    let labels = json!({ "topology.kubernetes.io/zone": "a", "other": "1" });
    json!({ "kind": "Node", "metadata": { "uid": NODE_UID, "labels": labels } })
}

/// `object` with another value at `place`, such as `/spec/nodeName`; without it for null.
fn with(mut object: Value, place: &str, value: Value) -> Value {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => _ = parent.remove(key),
        value => _ = parent.insert(key.to_owned(), value),
    }
    object
}

#[tokio::test]
async fn a_node_joins_by_its_pods_token_again_and_again() {
    let mut world = World::start(Duration::from_secs(15)).await;
    world.write_token(&claims());
    let joined = world.join("a").await.unwrap();
    assert_eq!(joined.spiffe_id, AGENT);
    let asked = [REVIEW.to_owned(), format!("GET {POD}"), format!("GET {NODE}")];
    assert_eq!(world.cluster.asked(), asked.map(|asked| (asked, "reviewer".to_owned())));
    let mut operator = admin(&world.running.socket());
    let agents =
        operator.list_agents(wire::ListAgentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(agents.agents[0].attestation_type, "k8s_psat");
    let selectors = agents.agents[0].selectors.iter();
    let selectors: Vec<_> =
        selectors.map(|selector| format!("{}:{}", selector.r#type, selector.value)).collect();
    assert_eq!(
        selectors,
        [
            "k8s_psat:agent_node_ip:172.16.10.1",
            "k8s_psat:agent_node_label:topology.kubernetes.io/zone:a",
            "k8s_psat:agent_node_name:node-1.internal",
            "k8s_psat:agent_node_uid:5dbb7b21-65fe-11e9-b1b0-0800277ac80f",
            "k8s_psat:agent_ns:spire",
            "k8s_psat:agent_pod_label:app:agent",
            "k8s_psat:agent_pod_name:spire-agent-x7k2p",
            "k8s_psat:agent_pod_uid:79261129-6b60-11e9-9054-0800277ac80f",
            "k8s_psat:agent_sa:spire-agent",
            "k8s_psat:cluster:prod",
        ]
    );
    let alias = wire::Entry {
        spiffe_id: "spiffe://demo.local/prod".to_owned(),
        parent_id: "spiffe://demo.local/spire/server".to_owned(),
        selectors: ["cluster:prod", "agent_ns:spire", "agent_sa:spire-agent"]
            .map(|value| wire::Selector { r#type: "k8s_psat".to_owned(), value: value.to_owned() })
            .into(),
        ..wire::Entry::default()
    };
    operator.create_entry(alias).await.unwrap();
    let mut entry = wanted("backend", 26);
    entry.parent_id = "spiffe://demo.local/prod".to_owned();
    let entry = operator.create_entry(entry).await.unwrap().into_inner();
    until(&joined.source, |now| now.entries.len() == 1).await;

    // The server restarts, and the agent's pod with what it kept, or without.
    drop(joined);
    world.running.restart().await;
    for (state, reviews) in [("a", 2), ("b", 3)] {
        let joined = world.join(state).await.unwrap();
        assert_eq!((joined.spiffe_id.as_str(), world.reviews()), (AGENT, reviews), "{state}");
        until(&joined.source, |now| now.entries.len() == 1).await;
        joined.source.mint_jwt(&entry.id, &["a".to_owned()]).await.unwrap();
    }
}

#[tokio::test]
async fn what_changed_of_a_node_is_seen_at_half_of_its_agents_svid() {
    let world = World::start(Duration::from_secs(15)).await;
    world.write_token(&claims());
    // Half of the SVID's life is two seconds away.
    let clock = Arc::new(FakeClock::at(SystemClock.now().as_second() + 3596));
    let joined = crate::join::join(world.settings("a"), clock.clone()).await.unwrap();
    let mut operator = admin(&world.running.socket());
    let mut entry = wanted("backend", 26);
    entry.parent_id = AGENT.to_owned();
    let entry = operator.create_entry(entry).await.unwrap().into_inner();
    until(&joined.source, |now| now.entries.len() == 1).await;
    let zone = "/metadata/labels/topology.kubernetes.io~1zone";
    let mut moved = node();
    *moved.pointer_mut(zone).unwrap() = "b".into();
    world.cluster.put(NODE, moved);
    clock.advance(Duration::from_secs(2));
    let seen = async {
        loop {
            let agents = operator.list_agents(wire::ListAgentsRequest::default()).await.unwrap();
            let selectors = &agents.get_ref().agents[0].selectors;
            if selectors.iter().any(|selector| selector.value.ends_with("/zone:b")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it attests anew");
    // The SVID of before counts no more: it is the new one by which is asked from now on.
    let minted =
        async { while joined.source.mint_jwt(&entry.id, &["a".to_owned()]).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), minted).await.expect("it has the new one in use");
    assert!(!world.running.audited().contains("agent SVID renew"));
}

#[tokio::test]
async fn each_refusal_of_a_token_has_a_reason_of_its_own() {
    let world = World::start(Duration::from_secs(15)).await;
    let token = |place: &str, value: Value| with(claims(), place, value);
    let bound = |place: &str| format!("/kubernetes.io/{place}");
    for (claims, told) in [
        (token("/good", false.into()), "the cluster says that the token is not valid"),
        (
            token("/aud", json!(["https://kubernetes.default.svc"])),
            "the cluster takes the token for none of the audiences [\"spire-server\"]",
        ),
        (token("/aud", json!([])), "for none of the audiences"),
        (
            token("/sub", "system:serviceaccount:apps:backend".into()),
            "\"apps:backend\" is not an allowed service account",
        ),
        (token("/sub", "other:serviceaccount:spire:spire-agent".into()), "of no service account"),
        (token("/sub", "system:serviceaccount:spire:../../x".into()), "of no service account"),
        (token(&bound("pod"), Value::Null), "does not say which pod the token was made for"),
        (token(&bound("pod/uid"), Value::Null), "does not say which pod the token was made for"),
        (token(&bound("pod/uid"), "2".into()), "the pod of the token is not the one that is there"),
        (token(&bound("pod/name"), "gone".into()), "the pod of the token is not there"),
        (token(&bound("pod/name"), "../nodes".into()), "the pod of the token is not there"),
        (token(&bound("node/name"), "node-2".into()), "the node of the token is not the one"),
        (token(&bound("node/uid"), "2".into()), "the node of the token is not the one"),
    ] {
        world.write_token(&claims);
        let refused = world.refusal().await;
        assert!(refused.contains(told), "{claims}: {refused}");
    }
    let token = world.write_token(&claims());
    let unbound = with(claims(), "/kubernetes.io/node", Value::Null);
    for (object, told) in [
        (with(pod(), "/spec/nodeName", Value::Null), "the token's pod runs on no node"),
        (with(pod(), "/spec/serviceAccountName", "x".into()), "the pod of the token is not the"),
        (with(pod(), "/spec/nodeName", "unknown".into()), "the node of the token is not there"),
        (with(pod(), "/spec/nodeName", "../x".into()), "the node of the token is not there"),
    ] {
        world.write_token(&unbound);
        world.cluster.put(POD, object);
        let refused = world.refusal().await;
        assert!(refused.contains(told), "{refused}");
    }
    world.cluster.put(POD, pod());
    for uid in [Value::Null, "a/b".into(), "..".into()] {
        world.cluster.put(NODE, with(node(), "/metadata/uid", uid));
        assert!(world.refusal().await.contains("the node's id cannot be made"));
    }
    world.cluster.put(NODE, node());
    // Whatever the cluster says, the token is not told on.
    world.write_token(&claims());
    let said = json!({ "status": { "error": format!("bad token {token}, sorry") } });
    world.cluster.review(Some((201, said.to_string())));
    assert!(world.refusal().await.contains("could not review the token: bad token ***, sorry"));
    let signature = token.rsplit('.').next().unwrap();
    assert!(!world.running.audited().contains(signature));
    assert!(world.running.audited().contains("bad token ***"));
    world.cluster.review(None);
    let mut elsewhere = world.settings("refused");
    let token_file = world.folder.path().join("token");
    elsewhere.proof = Some(Proof::ServiceAccount { cluster: "other".to_owned(), token_file });
    let refused = crate::join::join(elsewhere, Arc::new(SystemClock)).await.err().unwrap();
    assert!(refused.to_string().contains("the agent's cluster is not configured"), "{refused}");
    assert!(!world.running.directory.path().join("refused").exists(), "nothing was kept");
    world.join("refused").await.unwrap();
}

#[tokio::test]
async fn tokens_are_bounded_on_both_sides() {
    let world = World::start(Duration::from_secs(15)).await;
    let path = world.folder.path().join("token");
    for (text, told) in [
        ("", "it holds no token"),
        (" \n", "it holds no token"),
        (&*"x".repeat(16 * 1024 + 1), "too long for a token"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = world.join("a").await.err().unwrap();
        let error = holdfast_types::Chain(&error).to_string();
        assert!(error.contains(told) && error.contains(path.to_str().unwrap()), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(world.join("a").await, Err(JoinError::Token { .. })));
    let attestor = K8sPsat::new(world.running.clusters.clone()).unwrap();
    let domain = TrustDomain::parse("demo.local").unwrap();
    let token = "x".repeat(16 * 1024 + 1);
    for (payload, told) in [
        (json!({ "cluster": "prod", "token": token }).to_string(), "longer than 16384 bytes"),
        ("x".repeat(64 * 1024), "longer than 16384 bytes"),
        ("{}".to_owned(), "no cluster's name and token"),
        (json!({ "cluster": "prod", "token": "" }).to_string(), "no cluster's name and token"),
    ] {
        let error = attestor.attest(payload.as_bytes(), &domain).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(world.cluster.asked(), [], "nobody was asked");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_waited_for() {
    let passes = |outcome: Result<Joined, JoinError>, told: &str| {
        let error = outcome.err().unwrap();
        assert!(error.is_passing() && error.to_string().contains(told), "{error:?}");
        assert!(!error.to_string().contains("localhost"), "{error}");
    };
    let hasty = World::start(Duration::from_millis(500)).await;
    hasty.write_token(&claims());
    hasty.cluster.be_silent();
    passes(hasty.join("a").await, "cluster \"prod\" does not answer in time");
    drop(hasty);
    let world = World::start(Duration::from_secs(15)).await;
    world.write_token(&claims());
    let cannot = "cluster \"prod\" cannot be asked about the token at the moment";
    for (status, body) in [(500, "{}"), (403, "{}"), (401, "{}"), (201, "frob")] {
        world.cluster.review(Some((status, body.to_owned())));
        passes(world.join("a").await, cannot);
    }
    world.cluster.review(None);
    let file = |name: &str| world.folder.path().join(name);
    for (name, broken) in [("reviewer", ""), ("ca.crt", ""), ("ca.crt", &*other_ca())] {
        let good = std::fs::read_to_string(file(name)).unwrap();
        std::fs::write(file(name), broken).unwrap();
        passes(world.join("a").await, cannot);
        // Both are read anew.
        std::fs::write(file(name), good).unwrap();
    }
    let joined = world.join("a").await.unwrap();
    // Nothing listens there now; an agent that has an SVID goes on with it.
    let World { cluster, folder, running } = world;
    drop((joined, cluster));
    let settings = |state: &str| {
        let token_file = folder.path().join("token");
        let proof = Proof::ServiceAccount { cluster: "prod".to_owned(), token_file };
        JoinSettings { proof: Some(proof), ..joining(&running, state, None) }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    passes(crate::join::join(settings("b"), clock.clone()).await, cannot);
    let joined = crate::join::join(settings("a"), clock).await.unwrap();
    assert_eq!(joined.spiffe_id, AGENT);
    until(&joined.source, |_| true).await;
}

fn other_ca() -> String {
    holdfast_testkit::Ca::new("cluster").pem().to_owned()
}

#[test]
fn clusters_are_checked() {
    let settings = |change: &dyn Fn(&mut ClusterSettings)| {
        let mut settings = ClusterSettings {
            name: "prod".to_owned(),
            url: "https://10.0.0.1:6443/".to_owned(),
            ca_file: Path::new("ca").to_owned(),
            token_file: Path::new("token").to_owned(),
            service_accounts: BTreeSet::from(["a:b".to_owned()]),
            audiences: vec!["spire-server".to_owned()],
            node_label_keys: BTreeSet::new(),
            pod_label_keys: BTreeSet::new(),
        };
        change(&mut settings);
        K8sPsat::new(vec![settings]).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(settings(&|_| {}), "");
    for name in ["", "a/b", "a b", ".."] {
        assert!(settings(&|it| name.clone_into(&mut it.name)).contains("the name must be"));
    }
    for url in ["http://a", "a:6443", "https://", "https://a/b", "https://u@a"] {
        assert!(settings(&|it| url.clone_into(&mut it.url)).contains("https://host:port"));
    }
    for account in ["a", "a:", ":b", "*:*", "a:b:c"] {
        let told = settings(&|it| it.service_accounts = BTreeSet::from([account.to_owned()]));
        assert!(told.contains("namespace:name"), "{account}: {told}");
    }
    assert!(settings(&|it| it.service_accounts.clear()).contains("at least one"));
    assert!(settings(&|it| it.audiences.clear()).contains("must be an audience"));
    assert!(settings(&|it| it.audiences = vec![String::new()]).contains("must be an audience"));
}
