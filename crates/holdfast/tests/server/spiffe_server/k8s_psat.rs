//! A node of a fake Kubernetes cluster, whose agent joins by its pod's token.

use holdfast_testkit::FakeCluster;
use serde_json::json;

use super::*;

const POD: &str = "/api/v1/namespaces/spire/pods/spire-agent-x7k2p";
const NODE: &str = "/api/v1/nodes/node-1";
const AGENT: &str = "spiffe://demo.local/spire/agent/k8s_psat/prod/5dbb7b21";

fn token(namespace: &str) -> String {
    FakeCluster::token(&json!({
        "aud": ["spire-server"], "good": true,
        "sub": format!("system:serviceaccount:{namespace}:spire-agent"),
        "kubernetes.io": { "pod": { "name": "spire-agent-x7k2p", "uid": "79261129" } },
    }))
}

#[test]
fn an_agent_joins_by_its_pods_token_and_nobody_reads_it() {
    let cluster = FakeCluster::start().unwrap();
    cluster.put(
        POD,
        json!({
            "metadata": { "uid": "79261129" }, "status": { "hostIP": "172.16.10.1" },
            "spec": { "nodeName": "node-1", "serviceAccountName": "spire-agent" },
        }),
    );
    let labels = json!({ "zone": "a" });
    cluster.put(NODE, json!({ "metadata": { "uid": "5dbb7b21", "labels": labels } }));
    let mut world = World::new();
    fs::write(world.path("ca.pem"), cluster.ca_pem()).unwrap();
    fs::write(world.path("reviewer"), "the-reviewer").unwrap();
    let clusters = format!(
        "[clusters.prod]\nservice_account_allow_list = [\"spire:spire-agent\"]\n\
         allowed_node_label_keys = [\"zone\"]\napi_url = \"{}\"\nca_file = {:?}\ntoken_file = {:?}\n",
        cluster.url(),
        world.path("ca.pem"),
        world.path("reviewer"),
    );
    fs::write(world.path("clusters.toml"), clusters).unwrap();
    let flags = [
        "-bindAddress=127.0.0.1:0".to_owned(),
        format!("-k8sPsatClusters={}", world.path("clusters.toml").display()),
        format!("-auditLog={}", world.path("audit.log").display()),
        "-logLevel=trace".to_owned(),
    ];
    world.server("server", "demo.local", &flags);
    let address = world.address("server", "agents");
    fs::write(world.path("bundle.pem"), world.tool("server", &["bundle", "show"], &[])).unwrap();
    let node = "spiffe://demo.local/node/a";
    let flags = ["-node", "-spiffeID", node, "-selector", "k8s_psat:agent_node_label:zone:a"];
    world.tool("server", &["entry", "create"], &flags);
    let selector = own_user();
    let flags = ["-spiffeID", "spiffe://demo.local/web", "-parentID", node, "-selector", &selector];
    world.tool("server", &["entry", "create"], &flags);

    let proof = [
        "-cluster=prod".to_owned(),
        format!("-tokenPath={}", world.path("psat").display()),
        "-logLevel=trace".to_owned(),
    ];
    let arguments = remote_agent(&world, address, &proof);
    let stranger = token("apps");
    fs::write(world.path("psat"), &stranger).unwrap();
    let refused = holdfast(&arguments).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let want = "k8s_psat: \"apps:spire-agent\" is not an allowed service account";
    assert!(!refused.status.success() && told.contains(want), "{told}");
    assert!(!world.path("agent-state/agent.json").exists());

    // The kubelet replaces the file, and the agent is started again.
    let own = token("spire");
    fs::write(world.path("psat"), &own).unwrap();
    for _ in 0..2 {
        world.spawn("agent", &arguments);
        world.wait(&world.socket("agent"), "agent");
        assert!(world.fetch("agent").contains("spiffe://demo.local/web"));
        assert!(!secrets_in(&world.log("agent"), &[&own]));
        world.kill("agent");
    }
    let list = world.tool("server", &["agents", "list"], &[]);
    assert!(list.contains(AGENT) && list.contains("Attestation type  : k8s_psat"), "{list}");
    assert!(list.contains("Found 1 attested agent:\n"), "{list}");
    let audited = fs::read_to_string(world.path("audit.log")).unwrap();
    assert!(audited.contains(AGENT) && audited.contains("is not an allowed service account"));
    let all = [told, audited, world.log("server")].concat();
    assert!(!secrets_in(&all, &[&own, &stranger, "the-reviewer"]));
}

/// Whether a text holds one of these, or its last part, which is a token's signature.
fn secrets_in(text: &str, secrets: &[&str]) -> bool {
    secrets.iter().any(|secret| text.contains(secret.rsplit('.').next().unwrap()))
}
