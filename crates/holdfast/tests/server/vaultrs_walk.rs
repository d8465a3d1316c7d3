//! A walk through the API with vaultrs, as a Rust program would take it.
//!
//! It makes mounts, policies and users whose names begin with `rs-`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use vaultrs::api::pki::requests::{
    GenerateCertificateRequest, GenerateRootRequest, SetRoleRequest,
};
use vaultrs::api::sys::requests::EnableEngineRequest;
use vaultrs::api::token::requests::CreateTokenRequest;
use vaultrs::api::transit::requests::{CreateKeyRequest, RandomBytesSource};
use vaultrs::api::transit::{KeyType, OutputFormat};
use vaultrs::api::{ResponseWrapper as _, kv2::requests::ReadSecretRequest};
use vaultrs::auth::{approle, userpass};
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{kv2, pki, sys, token, transit};

const POLICY: &str = r#"path "rs-kv/data/app" { capabilities = ["read"] }"#;

/// Walks the server at `address`, whose certificate is from the authority in `ca_file`.
pub(crate) async fn walk(address: &str, ca_file: &Path, root_token: &str) -> Result<()> {
    let client = |token: &str| -> Result<VaultClient> {
        let mut settings = VaultClientSettingsBuilder::default();
        settings.address(address).token(token).ca_certs(vec![ca_file.display().to_string()]);
        Ok(VaultClient::new(settings.build()?)?)
    };
    let root = client(root_token)?;
    let app = kv(&root).await.context("kv")?;
    tokens(&root, &client).await.context("tokens")?;
    logins(&root, &client, &app).await.context("logins")?;
    keys(&root).await.context("transit")?;
    certificates(&root).await.context("pki")
}

type Secret = HashMap<String, String>;

async fn kv(root: &VaultClient) -> Result<Secret> {
    let mut version_2 = EnableEngineRequest::builder();
    version_2.options(HashMap::from([("version".to_owned(), "2".to_owned())]));
    sys::mount::enable(root, "rs-kv", "kv", Some(&mut version_2)).await?;
    let app = Secret::from([("user".to_owned(), "app".to_owned())]);
    ensure!(kv2::set(root, "rs-kv", "app", &app).await?.version == 1);
    let newer = Secret::from([("user".to_owned(), "app2".to_owned())]);
    ensure!(kv2::set(root, "rs-kv", "app", &newer).await?.version == 2);
    ensure!(kv2::read::<Secret>(root, "rs-kv", "app").await? == newer);
    ensure!(kv2::read_version::<Secret>(root, "rs-kv", "app", 1).await? == app);
    ensure!(kv2::list(root, "rs-kv", "").await? == ["app"]);
    kv2::delete_versions(root, "rs-kv", "app", vec![1]).await?;
    let metadata = kv2::read_metadata(root, "rs-kv", "app").await?;
    ensure!(!metadata.versions["1"].deletion_time.is_empty(), "version 1 is deleted");
    let missing = kv2::read::<Secret>(root, "rs-kv", "nothing").await;
    ensure!(is_refused(&missing, 404), "{missing:?}");

    let endpoint = ReadSecretRequest::builder().mount("rs-kv").path("app").build()?;
    let wrapped = endpoint.wrap(root).await?;
    let unwrapped: serde_json::Value =
        sys::wrapping::unwrap(root, Some(&wrapped.info.token)).await?;
    ensure!(unwrapped["data"]["user"] == "app2", "{unwrapped}");
    let again = sys::wrapping::unwrap::<serde_json::Value>(root, Some(&wrapped.info.token)).await;
    ensure!(is_refused(&again, 400), "{again:?}");
    Ok(newer)
}

async fn tokens(root: &VaultClient, client: &dyn Fn(&str) -> Result<VaultClient>) -> Result<()> {
    sys::policy::set(root, "rs-app", POLICY).await?;
    ensure!(sys::policy::read(root, "rs-app").await?.rules == POLICY);
    let mut request = CreateTokenRequest::builder();
    request.policies(vec!["rs-app".to_owned()]).ttl("10m");
    let child = token::new(root, Some(&mut request)).await?;
    let mine = client(&child.client_token)?;
    ensure!(mine.lookup().await?.policies == ["default", "rs-app"]);
    ensure!(mine.renew(Some("20m")).await?.lease_duration >= 1190);
    ensure!(token::lookup_accessor(root, &child.accessor).await?.accessor == child.accessor);
    let denied = kv2::list(&mine, "rs-kv", "").await;
    ensure!(is_refused(&denied, 403), "{denied:?}");
    mine.revoke().await?;
    ensure!(is_refused(&mine.lookup().await, 403), "a revoked token is looked up");
    Ok(())
}

async fn logins(
    root: &VaultClient,
    client: &dyn Fn(&str) -> Result<VaultClient>,
    secret: &Secret,
) -> Result<()> {
    use vaultrs::api::auth::approle::requests::SetAppRoleRequest;
    use vaultrs::api::auth::userpass::requests::CreateUserRequest;

    sys::auth::enable(root, "rs-approle", "approle", None).await?;
    let mut role = SetAppRoleRequest::builder();
    role.token_policies(vec!["rs-app".to_owned()]).token_ttl("10m");
    approle::role::set(root, "rs-approle", "app", Some(&mut role)).await?;
    let role_id = approle::role::read_id(root, "rs-approle", "app").await?.role_id;
    let secret_id = approle::role::secret::generate(root, "rs-approle", "app", None).await?;
    let login = approle::login(root, "rs-approle", &role_id, &secret_id.secret_id).await?;
    ensure!(kv2::read::<Secret>(&client(&login.client_token)?, "rs-kv", "app").await? == *secret);
    let wrong = approle::login(root, "rs-approle", &role_id, "wrong").await;
    ensure!(is_refused(&wrong, 400), "{wrong:?}");

    sys::auth::enable(root, "rs-userpass", "userpass", None).await?;
    let mut user = CreateUserRequest::builder();
    user.token_policies(vec!["rs-app".to_owned()]);
    userpass::user::set(root, "rs-userpass", "mina", "first", Some(&mut user)).await?;
    userpass::user::update_password(root, "rs-userpass", "mina", "second").await?;
    let login = userpass::login(root, "rs-userpass", "mina", "second").await?;
    ensure!(kv2::read::<Secret>(&client(&login.client_token)?, "rs-kv", "app").await? == *secret);
    let wrong = userpass::login(root, "rs-userpass", "mina", "first").await;
    ensure!(is_refused(&wrong, 400), "{wrong:?}");
    Ok(())
}

async fn keys(root: &VaultClient) -> Result<()> {
    const PLAIN: &str = "aGVsbG8=";
    sys::mount::enable(root, "rs-transit", "transit", None).await?;
    transit::key::create(root, "rs-transit", "aes", None).await?;
    let sealed = transit::data::encrypt(root, "rs-transit", "aes", PLAIN, None).await?;
    transit::key::rotate(root, "rs-transit", "aes").await?;
    let again = transit::data::rewrap(root, "rs-transit", "aes", &sealed.ciphertext, None).await?;
    ensure!(again.ciphertext.starts_with("vault:v2:"), "{}", again.ciphertext);
    let opened = transit::data::decrypt(root, "rs-transit", "aes", &again.ciphertext, None).await?;
    ensure!(opened.plaintext == PLAIN);

    let mut ed25519 = CreateKeyRequest::builder();
    ed25519.key_type(KeyType::Ed25519);
    transit::key::create(root, "rs-transit", "ed", Some(&mut ed25519)).await?;
    let signed = transit::data::sign(root, "rs-transit", "ed", PLAIN, None).await?;
    let mut check = vaultrs::api::transit::requests::VerifySignedDataRequest::builder();
    check.signature(&signed.signature);
    let verified = transit::data::verify(root, "rs-transit", "ed", PLAIN, Some(&mut check)).await?;
    ensure!(verified.valid);
    ensure!(transit::key::list(root, "rs-transit").await?.keys == ["aes", "ed"]);
    let (format, source) = (OutputFormat::Hex, RandomBytesSource::Platform);
    let random = transit::generate::random_bytes(root, "rs-transit", format, source, None).await?;
    ensure!(random.random_bytes.len() == 64);
    Ok(())
}

async fn certificates(root: &VaultClient) -> Result<()> {
    sys::mount::enable(root, "rs-pki", "pki", None).await?;
    let mut ca = GenerateRootRequest::builder();
    ca.common_name("Example Root").ttl("240h").key_type("ec").key_bits(256u64);
    pki::cert::ca::generate(root, "rs-pki", "internal", Some(&mut ca)).await?;
    let mut role = SetRoleRequest::builder();
    role.allowed_domains(vec!["example.com".to_owned()]).allow_subdomains(true);
    role.key_type("ec").key_bits(256u64);
    pki::role::set(root, "rs-pki", "web", Some(&mut role)).await?;
    let mut www = GenerateCertificateRequest::builder();
    www.common_name("www.example.com").ttl("1h");
    let issued = pki::cert::generate(root, "rs-pki", "web", Some(&mut www)).await?;
    let serials = pki::cert::list(root, "rs-pki").await?;
    ensure!(serials.contains(&issued.serial_number), "{serials:?}");
    let revoked = pki::cert::revoke(root, "rs-pki", &issued.serial_number).await?;
    ensure!(revoked.revocation_time > 0);
    let read = pki::cert::read(root, "rs-pki", &issued.serial_number).await?;
    ensure!(read.certificate.trim() == issued.certificate.trim());
    Ok(())
}

/// Whether the server answered with `status`.
fn is_refused<T>(answer: &Result<T, ClientError>, status: u16) -> bool {
    matches!(answer, Err(ClientError::APIError { code, .. }) if *code == status)
}
