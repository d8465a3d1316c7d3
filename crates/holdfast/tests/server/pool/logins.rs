//! Our server and the real one, all ways to log in, and a credential that somebody revokes.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_client::postgres::{
    CertificateLogin, IdentityFiles, JwtLogin, Login, LoginError, RotatingPool, StartError,
};
use holdfast_client::vault::{Auth, Trust, VaultClient, VaultConfig, VaultError};
use holdfast_testkit::{Ca, Stock, StockServer};
use serde_json::json;

use super::world::{World, fixed, until};
use crate::clients;
use crate::conformance::server;
use crate::delivery::world::PATIENCE;

fn root(server: &StockServer) -> VaultClient {
    let mut config = VaultConfig::new(server.address().parse().unwrap());
    config.token = Some(StockServer::ROOT_TOKEN.into());
    if let Some(file) = server.ca_file() {
        config.trust = Trust::File(file);
    }
    VaultClient::new(&config).unwrap()
}

/// The user that a connection of the pool is.
async fn user(pool: &RotatingPool) -> String {
    let connection = pool.get().await.unwrap();
    connection.query_one("SELECT current_user::text", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_and_the_real_server_serve_a_pool_alike() {
    for server in [server(), StockServer::start(&Stock::install())] {
        let root = root(&server);
        let world = World::new(&root, server.address(), 3600).await;
        let settings = world.settings();
        let pool = RotatingPool::start(settings, world.vault.clone(), world.login()).await.unwrap();
        let first = user(&pool).await;
        // One that is in use finishes, while others get the next.
        let held = pool.get().await.unwrap();
        pool.rotate();
        until("another credential", || pool.snapshot().rotations == 1).await;
        let second = user(&pool).await;
        assert_ne!(first, second);
        assert_eq!(pool.snapshot().draining, 1);
        let row = held.query_one("SELECT current_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), first);
        assert!(world.users().contains(&first), "it is in use");
        drop(held);
        until("the first to be gone", || !world.users().contains(&first)).await;

        // Somebody ends the lease that serves: whoever asks waits for the next.
        root.write("sys/leases/revoke-prefix/database/creds/app", &json!({})).await.unwrap();
        until("its user to be gone", || !world.users().contains(&second)).await;
        // The real server's default is to leave its sessions alone.
        world.end_orphans();
        // Connections that ended are found out when they are handed out.
        until("the pool to notice", || {
            let getter = pool.clone();
            tokio::spawn(async move { drop(getter.get().await) });
            pool.snapshot().refusals > 0
        })
        .await;
        until("another credential", || pool.snapshot().rotations == 2).await;
        let third = user(&pool).await;
        assert_ne!(third, second);
        pool.close().await;
        assert_eq!(world.users(), "");
        assert!(root.list("sys/leases/lookup/database/creds/app").await.unwrap().is_empty());
        assert!(pool.get().await.is_err_and(|error| error.to_string() == "the pool is closed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_logs_in_by_jwt() {
    let server = server();
    let root = root(&server);
    let world = World::new(&root, server.address(), 3600).await;
    let write = async |path: &str, body| root.write(path, &body).await.expect(path);
    write("sys/auth/jwt", json!({ "type": "jwt" })).await;
    let key = include_str!("../explain/issuer.pem");
    write("auth/jwt/config", json!({ "jwt_validation_pubkeys": [key] })).await;
    let jwt = include_str!("../explain/issuer.jwt").trim();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_subject": "web",
        "token_policies": "service", "token_ttl": "2h",
    });
    write("auth/jwt/role/service", role).await;
    let login = JwtLogin::new("jwt", "service", fixed(jwt));
    let pool = RotatingPool::start(world.settings(), world.vault.clone(), login).await.unwrap();
    assert!(user(&pool).await.starts_with("v-jwt"));
    pool.close().await;
    assert_eq!(world.users(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_logs_in_by_certificate_and_a_new_file_is_taken_up() {
    let server = clients::ours();
    let root = root(&server);
    let mut world = World::new(&root, server.address(), 3600).await;
    let ca = Ca::new("services");
    let write = async |path: &str, body| root.write(path, &body).await.expect(path);
    write("sys/auth/cert", json!({ "type": "cert" })).await;
    let role = json!({ "certificate": ca.pem(), "token_policies": "service", "token_ttl": "2h" });
    write("auth/cert/certs/service", role).await;
    let mut config = VaultConfig::new(server.address().parse().unwrap());
    (config.trust, config.max_retries) = (Trust::File(server.ca_file().unwrap()), 0);
    world.vault = VaultClient::new(&config).unwrap();
    let files = ["service.pem", "service-key.pem"].map(|name| world.folder.path().join(name));
    put(&files, &ca, "first");
    let identity = IdentityFiles { certificate: files[0].clone(), key: files[1].clone() };
    let login = CertificateLogin::new("cert", config, identity).role("service");
    let pool = RotatingPool::start(world.settings(), world.vault.clone(), login).await.unwrap();
    let first = user(&pool).await;
    // What the files hold now is what counts: a certificate that nobody trusts fails a rotation...
    put(&files, &Ca::new("strangers"), "second");
    pool.rotate();
    until("a login to fail", || pool.snapshot().login_failures > 0).await;
    assert_eq!(user(&pool).await, first, "the pool goes on");
    // ...and the next one makes it.
    put(&files, &ca, "third");
    until("another credential", || pool.snapshot().rotations == 1).await;
    assert_ne!(user(&pool).await, first);
    pool.close().await;
    assert_eq!(world.users(), "");
}

fn put([certificate, key]: &[std::path::PathBuf; 2], ca: &Ca, name: &str) {
    let leaf = ca.client(name);
    let write = |path: &Path, text: &str| {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    };
    write(key, &leaf.key_pem);
    write(certificate, &leaf.certificate_pem);
}

/// One that is never let in.
struct Refused;

#[async_trait::async_trait]
impl Login for Refused {
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        Ok(vault.login_approle("approle", "nobody", None).await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_credential_does_not_start_and_says_why() {
    let server = server();
    let root = root(&server);
    let world = World::new(&root, server.address(), 3600).await;
    let tokens = async || root.list("auth/token/accessors").await.unwrap().len();
    let before = tokens().await;
    let mut settings = world.settings();
    settings.start_limit = Duration::from_millis(500);
    let started = RotatingPool::start(settings.clone(), world.vault.clone(), Refused).await;
    let Err(StartError::Slow { last: Some(last), .. }) = started else { panic!("it started") };
    let told = holdfast_types::Chain(&last).to_string();
    assert!(told.starts_with("log in: ask the secrets server for a token"), "{told}");

    // One that may not read the path leaves nothing behind, though its tokens were made.
    settings.credential = "database/creds/other".into();
    let started = RotatingPool::start(settings, world.vault.clone(), world.login()).await;
    let Err(StartError::Slow { last: Some(last), .. }) = started else { panic!("it started") };
    assert!(matches!(
        &last,
        holdfast_client::postgres::RotationError::Read { source: VaultError::Denied(_), .. }
    ));
    let start = Instant::now();
    while tokens().await != before {
        assert!(start.elapsed() < PATIENCE, "waited for its tokens to be revoked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
