//! Stock clients over TLS: each against ours, and by the same steps against the real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_conformance::run::run;
use holdfast_conformance::{Engine, Target, Trust, vault};
use holdfast_testkit::{Ca, Stock, StockServer};
use holdfast_types::{Clock as _, SystemClock};

use crate::vaultrs_walk;

pub(crate) fn ours() -> StockServer {
    StockServer::start_tls(Path::new(env!("CARGO_BIN_EXE_holdfast")), &["vault", "server"])
}

fn real() -> StockServer {
    StockServer::start_tls(Stock::install().bao(), &["server"])
}

fn authority(server: &StockServer) -> PathBuf {
    server.ca_file().expect("it speaks TLS")
}

#[tokio::test]
async fn vaultrs_walks_ours_and_the_real_server() {
    for server in [real(), ours()] {
        vaultrs_walk::walk(server.address(), &authority(&server), StockServer::ROOT_TOKEN)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", server.address()));
    }
}

#[test]
fn hvac_walks_ours_over_tls() {
    let server = ours();
    let authority = authority(&server);
    let stock = Stock::install();
    vault::walk_with_hvac(&stock, server.address(), Some(&authority), StockServer::ROOT_TOKEN)
        .expect("hvac is not surprised");
}

/// What a service has that a SPIFFE server knows: see `logins.py`.
pub(crate) fn credentials(folder: &Path) {
    use holdfast_keys::x509::{Curve, KeyAlgorithm, PrivateKey, encode_pem};
    use holdfast_keys::{Algorithm, SigningKey};
    use serde_json::json;

    let ca = Ca::new("demo.local");
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).expect("a key");
    let signer =
        SigningKey::from_pkcs8(Algorithm::Es256, &key.to_pkcs8().to_vec().into()).expect("a key");
    let now = SystemClock.now().as_second();
    let token = |audience: &str| {
        let id = "spiffe://demo.local/ns/apps/sa/backend";
        let claims = json!({ "sub": id, "aud": [audience], "iat": now, "exp": now + 600 });
        signer.sign("k1", claims.as_object().expect("an object")).expect("a token")
    };
    let mut jwk = signer.public_jwk("k1");
    jwk["use"] = "jwt-svid".into();
    let authority = json!({ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(ca.der())] });
    let (web, svid) = (ca.client("web.example"), ca.svid("spiffe://demo.local/ns/apps/sa/backend"));
    for (name, text) in [
        ("authority.pem", ca.pem().to_owned()),
        ("web.pem", web.certificate_pem),
        ("web.key", web.key_pem),
        ("svid.pem", svid.certificate_pem),
        ("svid.key", svid.key_pem),
        ("jwt.pem", encode_pem("PUBLIC KEY", key.public_key().to_der()).to_string()),
        ("svid.jwt", token("vault")),
        ("other.jwt", token("other")),
        ("bundle.json", json!({ "keys": [authority, jwk] }).to_string()),
    ] {
        std::fs::write(folder.join(name), text).expect("write a file");
    }
}

#[test]
fn hvac_logs_in_by_certificate_and_by_jwt_over_tls() {
    let stock = Stock::install();
    let folder = tempfile::tempdir().expect("a folder");
    credentials(folder.path());
    for (server, engine) in [(real(), Engine::Real), (ours(), Engine::Ours)] {
        vault::log_in_with_hvac(&stock, &server, folder.path(), engine)
            .unwrap_or_else(|error| panic!("{engine:?}: {error:?}"));
    }
}

#[test]
fn what_terraform_asks_for_is_answered_as_by_the_real_server() {
    let suites = vault::suites().expect("the suites parse");
    let terraform = suites.iter().find(|suite| suite.name == "terraform").expect("it is there");
    for (server, engine) in [(real(), Engine::Real), (ours(), Engine::Ours)] {
        let trust = Trust::from_file(&authority(&server)).expect("its authority");
        let target = Target {
            address: server.address(),
            root_token: StockServer::ROOT_TOKEN,
            engine,
            trust: Some(&trust),
        };
        let report = run(terraform, target).expect("the server answers");
        assert!(report.exchanges > 250, "only {} exchanges", report.exchanges);
        assert!(report.differences.is_empty(), "{engine:?}: {report}");
    }
}

/// The official command line, and what it must say.
#[test]
fn bao_works_against_ours_over_tls() {
    let server = ours();
    let authority = authority(&server);
    let stock = Stock::install();
    let bao = |line: &str| -> String {
        let output = Command::new(stock.bao())
            .args(line.split(' '))
            .env("BAO_ADDR", server.address())
            .env("BAO_TOKEN", StockServer::ROOT_TOKEN)
            .env("BAO_CACERT", &authority)
            .output()
            .expect("run bao");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bao {line}: {said}{complained}");
        said
    };
    for (line, says) in [
        ("status", "Sealed          false"),
        ("secrets enable -path=b-kv -version=2 kv", "Success!"),
        ("kv put b-kv/app user=one password=two", "created_time"),
        ("kv patch b-kv/app password=three", "version            2"),
        ("kv get -field=password b-kv/app", "three"),
        ("kv get -version=1 -field=password b-kv/app", "two"),
        ("kv metadata get b-kv/app", "current_version"),
        ("kv list b-kv", "app"),
        ("auth enable -path=b-approle approle", "Success!"),
        ("write auth/b-approle/role/app token_ttl=10m", "Success!"),
        ("write -f auth/b-approle/role/app/secret-id", "secret_id_accessor"),
        ("read auth/b-approle/role/app/role-id", "role_id"),
        ("auth enable -path=b-userpass userpass", "Success!"),
        ("write auth/b-userpass/users/mina password=first", "Success!"),
        (
            "login -no-store -method=userpass -path=b-userpass username=mina password=first",
            "token_policies",
        ),
        ("secrets enable -path=b-transit transit", "Success!"),
        ("write -f b-transit/keys/app", "latest_version"),
        ("write b-transit/encrypt/app plaintext=aGVsbG8=", "vault:v1:"),
        ("secrets enable -path=b-pki pki", "Success!"),
        ("write b-pki/root/generate/internal common_name=Root key_type=ec", "BEGIN CERTIFICATE"),
        ("token create -ttl=5m -field=policies", "root"),
        ("token lookup", "display_name"),
        ("operator key-status", "Key Term"),
        ("secrets list -detailed", "b-transit/"),
    ] {
        let said = bao(line);
        assert!(said.contains(says), "bao {line}: {says:?} is not in\n{said}");
    }
}
