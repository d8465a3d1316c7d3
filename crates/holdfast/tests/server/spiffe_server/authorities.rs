//! An authority whose key got out is replaced and ended, while agents and workloads go on.

use holdfast_keys::x509::Certificate;
use serde_json::Value;

use super::*;

impl World {
    /// What an order for the X.509 authorities answers.
    fn order(&self, order: &[&str]) -> Value {
        let verbs = [&["localauthority", "x509"], &order[..1]].concat();
        let flags = [&order[1..], &["-output", "json"]].concat();
        serde_json::from_str(&self.tool("server", &verbs, &flags)).unwrap()
    }

    /// Makes the next authority and has it sign. Gives the one before it.
    fn replace(&self) -> String {
        let before = self.order(&["show"])["active"]["authority_id"].as_str().unwrap().to_owned();
        let made = self.order(&["prepare"]);
        let next = made["prepared_authority"]["authority_id"].as_str().unwrap();
        self.order(&["activate", "-authorityID", next]);
        before
    }

    /// Who signed what a workload gets.
    fn signer(&self) -> String {
        self.fetch("agent");
        let svid = fs::read_to_string(self.path("svid.0.pem")).unwrap();
        hex::encode(Certificate::from_pem(&svid).unwrap().authority_key_id.unwrap())
    }

    /// What the agent keeps.
    fn kept(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("agent-state/agent.json")).unwrap()).unwrap()
    }

    /// Who signed what the agent shows its server.
    fn agents_signer(&self) -> String {
        let kept = self.kept();
        let leaf = kept["chain"][0].as_str().unwrap();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{leaf}\n-----END CERTIFICATE-----\n");
        hex::encode(Certificate::from_pem(&pem).unwrap().authority_key_id.unwrap())
    }
}

#[test]
fn an_authority_is_ended_and_an_agent_elsewhere_goes_on() {
    let mut world = World::new();
    let flags = ["-bindAddress=127.0.0.1:0".to_owned(), "-selfSigned".to_owned()];
    world.server("server", "demo.local", &flags);
    let address = world.address("server", "agents");
    fs::write(world.path("bundle.pem"), world.tool("server", &["bundle", "show"], &[])).unwrap();
    let node = "spiffe://demo.local/node/db";
    let made = world.tool("server", &["token", "generate"], &["-spiffeID", node]);
    fs::write(world.path("token"), made.strip_prefix("Token: ").unwrap()).unwrap();
    let selector = own_user();
    let db = ["-spiffeID", "spiffe://demo.local/db", "-parentID", node, "-selector", &selector];
    world.tool("server", &["entry", "create"], &db);
    let proof = format!("-joinTokenFile={}", world.path("token").display());
    let arguments = remote_agent(&world, address, &[proof]);
    world.spawn("agent", &arguments);
    world.wait(&world.socket("agent"), "agent");
    let first = world.signer();
    assert_eq!(world.agents_signer(), first);

    // Made after the agent joined: it is told of it, and knows its server by it after a restart.
    assert_eq!(world.replace(), first);
    world.until("the agent to keep the bundle", || {
        world.kept()["bundle"].as_array().unwrap().len() == 2
    });
    world.kill("agent");
    world.spawn("agent", &arguments);
    world.wait(&world.socket("agent"), "agent");
    world.signer();

    world.order(&["taint", "-authorityID", &first]);
    world.until("the agent's SVID to be replaced", || world.agents_signer() != first);
    world.order(&["revoke", "-authorityID", &first]);
    let second = world.replace();
    assert_eq!(world.signer(), second, "what is not tainted stays");
    world.order(&["taint", "-authorityID", &second]);
    world.until("the next SVID", || world.signer() != second);
    world.until("the agent's next SVID", || world.agents_signer() != second);
    world.order(&["revoke", "-authorityID", &second]);
    let third = world.order(&["show"])["active"]["authority_id"].as_str().unwrap().to_owned();
    assert_eq!([world.signer(), world.agents_signer()], [third.clone(), third.clone()]);

    // The bundle has the one that signs, and the agent knows its server by that, after a restart, too.
    let bundle = world.tool("server", &["bundle", "show"], &[]);
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1, "{bundle}");
    world.kill("agent");
    world.spawn("agent", &arguments);
    world.wait(&world.socket("agent"), "agent");
    assert_eq!(world.signer(), third);
}

#[test]
fn an_agent_that_was_away_is_told_what_to_do_and_joins_anew() {
    let mut world = World::new();
    let flags = ["-bindAddress=127.0.0.1:0".to_owned(), "-selfSigned".to_owned()];
    world.server("server", "demo.local", &flags);
    let address = world.address("server", "agents");
    let give = |world: &World| {
        fs::write(world.path("bundle.pem"), world.tool("server", &["bundle", "show"], &[]))
            .unwrap();
        let made = world.tool("server", &["token", "generate"], &[]);
        fs::write(world.path("token"), made.strip_prefix("Token: ").unwrap()).unwrap();
    };
    give(&world);
    let proof = format!("-joinTokenFile={}", world.path("token").display());
    let arguments = remote_agent(&world, address, &[proof]);
    let start = |world: &mut World| {
        world.spawn("agent", &arguments);
        world.wait(&world.socket("agent"), "agent");
        world.kept()["spiffe_id"].clone()
    };
    let joined = start(&mut world);
    world.kill("agent");
    let old = world.replace();
    world.order(&["taint", "-authorityID", &old]);
    world.order(&["revoke", "-authorityID", &old]);

    assert_eq!(start(&mut world), joined, "with what it has");
    let hint = "start the agent with the server's bundle of now";
    world.until("the agent to say what is wrong", || world.log("agent").contains(hint));
    world.kill("agent");
    give(&world);
    assert_ne!(start(&mut world), joined);
    world.until("the agent to be known", || {
        world.tool("server", &["agents", "list"], &[]).contains("Found 2 attested agents:")
    });
    let again = world.kept()["spiffe_id"].clone();
    world.kill("agent");

    // Something new to join with is not needed where what it has is good.
    give(&world);
    assert_eq!(start(&mut world), again);
}

#[test]
fn an_upstream_keeps_what_it_signed() {
    let mut world = World::new();
    world.server("server", "demo.local", &[]);
    let first = world.replace();
    world.order(&["taint", "-authorityID", &first]);
    let verbs = ["localauthority", "x509", "revoke"];
    let refused = world.ask("server", &verbs, &["-authorityID", &first]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("signed by an upstream"), "{told}");
    assert!(told.contains("trusted until its end, 20"), "{told}");
    assert_eq!(world.order(&["show"])["old"]["tainted"], true);

    // One of several that are old can be named, too.
    let second = world.replace();
    let shown = world.order(&["show"]);
    assert_eq!(shown["old"]["authority_id"], second);
    assert_eq!(shown["older"][0]["authority_id"], first);
}
