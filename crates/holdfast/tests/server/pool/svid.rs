//! A pool whose service has no secret to begin with: its logins show what the agent says it is.

use holdfast_client::postgres::{Login, RotatingPool};
use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
use holdfast_client::workload::SvidLogin;
use holdfast_testkit::{Registration, StockServer, TrustDomain, TrustDomainSettings};
use serde_json::{Value, json};

use super::world::{World, until};
use crate::clients;
use crate::workload_client::{connect, trust_domain};

fn bundle(domain: &TrustDomain, format: &str) -> String {
    let mut show = domain.tool(&["bundle", "show", "-format", format]);
    let output = show.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The bundle's keys as the JWT method takes them.
fn jwt_keys(bundle: &str) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use holdfast_keys::x509::encode_pem;

    /// What stands before the point of a P-256 key in its DER.
    const HEAD: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let parsed: Value = serde_json::from_str(bundle).unwrap();
    let keys = parsed["keys"].as_array().unwrap().iter();
    let pem = keys.filter(|key| key["use"] == "jwt-svid").map(|key| {
        let mut der = hex::decode(HEAD).unwrap();
        for half in ["x", "y"] {
            der.extend(URL_SAFE_NO_PAD.decode(key[half].as_str().unwrap()).unwrap());
        }
        encode_pem("PUBLIC KEY", &der).to_string()
    });
    json!(pem.collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_logs_in_by_svid_in_every_way() {
    let domain = trust_domain(TrustDomainSettings::default());
    let entry = domain.register(&Registration::own("/backend"));
    let workload = connect(&domain, None).await;
    let server = clients::ours();
    let mut config = VaultConfig::new(server.address().parse().unwrap());
    config.trust = Trust::File(server.ca_file().unwrap());
    config.max_retries = 0;
    let anonymous = VaultClient::new(&config).unwrap();
    config.token = Some(StockServer::ROOT_TOKEN.into());
    let root = VaultClient::new(&config).unwrap();
    config.token = None;
    let mut world = World::new(&root, server.address(), 3600).await;
    world.vault = anonymous;
    let write = async |path: &str, body| root.write(path, &body).await.expect(path);
    let spiffe = bundle(&domain, "spiffe");
    for method in ["cert", "jwt", "spiffe"] {
        write(&format!("sys/auth/{method}"), json!({ "type": method })).await;
    }
    let tokens = |mut role: Value| {
        role["token_policies"] = "service".into();
        role["token_ttl"] = "2h".into();
        role
    };
    let id = "spiffe://example.org/backend";
    let role = json!({
        "certificate": bundle(&domain, "pem"), "allowed_uri_sans": id,
    });
    write("auth/cert/certs/backend", tokens(role)).await;
    write("auth/jwt/config", json!({ "jwt_validation_pubkeys": jwt_keys(&spiffe) })).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_subject": id, "bound_audiences": "vault",
    });
    write("auth/jwt/role/backend", tokens(role)).await;
    let trust = json!({
        "trust_domain": "example.org", "profile": "static", "bundle": spiffe, "audience": "vault",
    });
    write("auth/spiffe/config", trust).await;
    let role = json!({ "workload_id_patterns": "backend" });
    write("auth/spiffe/role/backend", tokens(role)).await;

    let own = || workload.clone();
    let role = || Some("backend".to_owned());
    let logins = [
        ("cert", SvidLogin::cert(own(), "cert", role(), config.clone())),
        ("jwt", SvidLogin::jwt(own(), "jwt", "backend", "vault")),
        ("spiffe", SvidLogin::jwt(own(), "spiffe", "backend", "vault")),
        ("spiffe", SvidLogin::spiffe(own(), "spiffe", "backend", config.clone())),
    ];
    for (method, login) in &logins {
        let auth = login.log_in(&world.vault).await.unwrap_or_else(|error| {
            panic!("{method}: {}", holdfast_types::Chain(&error));
        });
        assert!(auth.policies.contains(&"service".to_owned()), "{method}: {:?}", auth.policies);
    }

    // The pool rotates by another login.
    let login = SvidLogin::cert(own(), "cert", role(), config.clone());
    let pool = RotatingPool::start(world.settings(), world.vault.clone(), login).await.unwrap();
    pool.rotate();
    until("another credential", || pool.snapshot().rotations == 1).await;
    drop(pool.get().await.unwrap());

    // Who is nobody any more logs in no more, and what serves goes on.
    domain.unregister(&entry);
    until("the identity to go", || workload.svid().is_err()).await;
    pool.rotate();
    until("a login to fail", || pool.snapshot().login_failures > 0).await;
    drop(pool.get().await.unwrap());
    let error = logins[1].1.log_in(&world.vault).await.unwrap_err();
    assert_eq!(error.to_string(), "fetch what to log in with");
    pool.close().await;
    assert_eq!(world.users(), "");
}
