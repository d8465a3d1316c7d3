//! Every method, against both servers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use holdfast_client::vault::Trust;
use holdfast_testkit::{Ca, Leaf};
use holdfast_types::{Clock as _, SystemClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

#[tokio::test]
async fn approle_logs_in_and_removes_the_secret_id() {
    for scene in Scene::both().await {
        scene.put_ids().await;
        let config = scene.configure("a.hcl", APPROLE);
        let mut agent = scene.start(&config, &["-exit-after-auth"]);
        assert!(agent.end().await.success(), "{}", agent.said());
        let token = scene.look_up(&scene.read("token")).await.expect("a token that works");
        assert_eq!(token["path"], "auth/approle/login");
        assert!(!scene.at("secret-id").exists());
        assert!(scene.at("role-id").exists());
        assert!(!agent.said().contains(&scene.read("token")), "the log holds the token");
    }
}

#[tokio::test]
async fn a_wrapped_secret_id_outlives_the_agent_that_unwrapped_it() {
    for scene in Scene::both().await {
        scene.put_ids().await;
        let wrapping = scene.root.with_wrap_ttl(Some("5m".into()));
        let put = async || {
            let path = "auth/approle/role/app/secret-id";
            let reply = wrapping.write(path, &json!({})).await.unwrap();
            let token = reply.wrap_info.unwrap().token;
            fs::write(scene.at("secret-id"), token.expose()).unwrap();
        };
        let text = APPROLE.replace(
            "secret_id_file_path",
            "secret_id_response_wrapping_path = \"auth/approle/role/app/secret-id\"\n\
             secret_id_file_path",
        );
        let config = scene.configure("a.hcl", &format!("{text}\nstate_dir = \"FOLDER/state\"\n"));
        put().await;
        let mut agent = scene.start(&config, &[]);
        let first = agent.token(&scene.at("token"), "").await;
        assert!(!scene.at("secret-id").exists(), "it was read and removed");
        agent.kill();

        let mut agent = scene.start(&config, &[]);
        let second = agent.token(&scene.at("token"), &first).await;
        assert!(agent.said().contains("using the secret id that was kept"), "{}", agent.said());
        agent.kill();
        let kept = || -> Vec<PathBuf> {
            let names = fs::read_dir(scene.at("state")).unwrap();
            let paths = names.map(|entry| entry.unwrap().path());
            paths.filter(|path| path.display().to_string().contains("/secret-id-")).collect()
        };
        let [file] = &kept()[..] else { panic!("one secret id is kept: {:?}", kept()) };
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

        // A secret id that the server refuses is forgotten; another wrapping token is taken.
        let role = scene.root.list("auth/approle/role/app/secret-id").await.unwrap();
        for accessor in role {
            let body = json!({ "secret_id_accessor": accessor });
            scene.write("auth/approle/role/app/secret-id-accessor/destroy", &body).await;
        }
        let mut agent = scene.start(&config, &[]);
        let forgotten = async || kept().is_empty().then_some(());
        agent.until("the refused secret id is forgotten", forgotten).await;
        put().await;
        agent.token(&scene.at("token"), &second).await;
    }
}

#[tokio::test]
async fn a_wrapping_token_from_elsewhere_is_not_unwrapped() {
    let scene = Scene::ours().await;
    scene.put_ids().await;
    let wrapping = scene.root.with_wrap_ttl(Some("5m".into()));
    let reply = wrapping.write("sys/wrapping/wrap", &json!({ "secret_id": "evil" })).await.unwrap();
    let token = reply.wrap_info.unwrap().token;
    fs::write(scene.at("secret-id"), token.expose()).unwrap();
    let text = APPROLE.replace("method \"approle\" {", "method \"approle\" {\n exit_on_err = true");
    let text = text.replace(
        "secret_id_file_path",
        "secret_id_response_wrapping_path = \"auth/approle/role/app/secret-id\"\n\
         secret_id_file_path",
    );
    let config = scene.configure("a.hcl", &format!("{text}\nstate_dir = \"FOLDER/state\"\n"));
    let mut agent = scene.start(&config, &[]);
    assert_eq!(agent.end().await.code(), Some(1), "exit_on_err");
    assert!(agent.said().contains("SECURITY"), "{}", agent.said());
    let body = json!({ "token": token.expose() });
    scene.write("sys/wrapping/lookup", &body).await;
    assert!(!scene.at("token").exists());
}

/// Tokens of a made-up issuer, and a mount that trusts it.
async fn issuer(scene: &Scene, mount: &str) -> impl Fn(&str) -> String {
    let leaf = Ca::new("issuer").server(&["issuer"]);
    scene.write(&format!("sys/auth/{mount}"), &json!({ "type": "jwt" })).await;
    let config = json!({ "jwt_validation_pubkeys": [leaf.certificate_pem] });
    scene.write(&format!("auth/{mount}/config"), &config).await;
    let role = json!({
        "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub",
        "token_policies": "app", "token_ttl": "1h",
    });
    scene.write(&format!("auth/{mount}/role/app"), &role).await;
    let key = EncodingKey::from_ec_pem(leaf.key_pem.as_bytes()).unwrap();
    move |subject: &str| {
        let now = SystemClock.now().as_second();
        let claims = json!({
            "sub": subject, "aud": "vault", "iat": now, "nbf": now - 60, "exp": now + 3600,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }
}

#[tokio::test]
async fn jwt_logs_in_and_again_when_another_jwt_comes() {
    for scene in Scene::both().await {
        let jwt = issuer(&scene, "jwt").await;
        fs::write(scene.at("jwt"), jwt("one") + "\n").unwrap();
        let config = scene.configure(
            "a.hcl",
            r#"auto_auth {
                 enable_reauth_on_new_credentials = true
                 method "jwt" { config = { path = "FOLDER/jwt" role = "app" } }
                 sink "file" { config = { path = "FOLDER/token" } }
               }"#,
        );
        let mut agent = scene.start(&config, &[]);
        let first = agent.token(&scene.at("token"), "").await;
        assert_eq!(scene.look_up(&first).await.unwrap()["display_name"], "jwt-one");
        assert!(!scene.at("jwt").exists(), "it was read and removed");
        fs::write(scene.at("jwt"), jwt("two")).unwrap();
        let second = agent.token(&scene.at("token"), &first).await;
        assert_eq!(scene.look_up(&second).await.unwrap()["display_name"], "jwt-two");
    }
}

/// A mount of type `jwt` stands in for Kubernetes', which needs a cluster: the request is the same.
#[tokio::test]
async fn kubernetes_sends_the_service_accounts_token() {
    for scene in Scene::both().await {
        let jwt = issuer(&scene, "kubernetes").await;
        fs::write(scene.at("sa-token"), jwt("pod")).unwrap();
        let config = scene.configure(
            "a.hcl",
            r#"auto_auth {
                 method "kubernetes" { config = { role = "app" token_path = "FOLDER/sa-token" } }
                 sink "file" { config = { path = "FOLDER/token" } }
               }"#,
        );
        let mut agent = scene.start(&config, &["-exit-after-auth"]);
        assert!(agent.end().await.success(), "{}", agent.said());
        assert!(scene.look_up(&scene.read("token")).await.is_some());
        assert!(scene.at("sa-token").exists());
    }
}

#[tokio::test]
async fn a_token_file_is_taken_as_it_is_and_kept_alive() {
    for scene in Scene::both().await {
        let body = json!({ "policies": ["app"], "ttl": "6s", "explicit_max_ttl": "1h" });
        let made = scene.write("auth/token/create", &body).await.auth.unwrap();
        fs::write(scene.at("given"), made.client_token.expose()).unwrap();
        let config = scene.configure(
            "a.hcl",
            r#"auto_auth {
                 method "token_file" { config = { token_file_path = "FOLDER/given" } }
                 sink "file" { config = { path = "FOLDER/token" } }
               }"#,
        );
        let mut agent = scene.start(&config, &[]);
        assert_eq!(agent.token(&scene.at("token"), "").await, *made.client_token.expose());
        let log = agent.log.clone();
        let renewed = async || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            (said.matches("renewed the token").count() >= 2).then_some(())
        };
        agent.until("it was renewed twice", renewed).await;
        assert!(scene.look_up(made.client_token.expose()).await.is_some(), "past its first end");
    }
}

#[tokio::test]
async fn what_cannot_work_ends_with_code_1_and_says_why() {
    let scene = Scene::ours().await;
    for (text, says) in [
        ("auto_auth {", "object expected closing RBRACE"),
        ("listener \"tcp\" { adress = \"x\" }", "did you mean \"address\"?"),
        (
            "auto_auth { method \"approle\" { config { role_id_file_path = \"/r\" } }\n\
             sink \"file\" { config { path = \"/nowhere/at/all\" } } }",
            "write the sink /nowhere/at/all",
        ),
    ] {
        let config = scene.configure("a.hcl", text);
        let mut agent = scene.start(&config, &[]);
        assert_eq!(agent.end().await.code(), Some(1), "{text}");
        assert!(agent.said().contains(says), "{text}: {}", agent.said());
    }
}

/// A server that is reached by TLS, with a login method for certificates of `ca`.
async fn with_certificates(server: StockServer, ca: &Ca) -> Scene {
    let mut config = VaultConfig::new(server.address().parse().expect("an address"));
    config.token = Some(StockServer::ROOT_TOKEN.into());
    config.trust = Trust::File(server.ca_file().expect("the server's authority"));
    let root = VaultClient::new(&config).expect("a client");
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let scene = Scene { server, root, folder };
    scene.write("sys/auth/cert", &json!({ "type": "cert" })).await;
    let role = json!({
        "certificate": ca.pem(), "allowed_common_names": ["web", "other"],
        "token_ttl": "3s", "token_max_ttl": "3s",
    });
    scene.write("auth/cert/certs/web", &role).await;
    scene
}

#[tokio::test]
async fn a_client_certificate_logs_in_and_is_read_again_for_the_next_login() {
    const CONFIG: &str = r#"auto_auth {
         method "cert" {
           exit_on_err = true
           config = {
             name = "web" reload = true
             client_cert = "FOLDER/client.pem" client_key = "FOLDER/client-key.pem"
           }
         }
         sink "file" { config = { path = "FOLDER/token" } }
       }"#;
    let (ca, stranger) = (Ca::new("clients"), Ca::new("strangers"));
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    for server in [
        StockServer::start_tls(ours, &["vault", "server"]),
        StockServer::start_tls(Stock::install().bao(), &["server"]),
    ] {
        let scene = with_certificates(server, &ca).await;
        let show = |leaf: Leaf| {
            fs::write(scene.at("client-key.pem"), leaf.key_pem).unwrap();
            fs::write(scene.at("client.pem"), leaf.certificate_pem).unwrap();
        };
        let authority = scene.server.ca_file().unwrap();
        let trust = format!("-ca-cert={}", authority.display());
        let config = scene.configure("a.hcl", CONFIG);

        show(stranger.client("web"));
        let mut agent = scene.start(&config, &[&trust]);
        assert_eq!(agent.end().await.code(), Some(1), "{}", agent.said());
        assert!(!scene.at("token").exists());

        // A pair that is half replaced fails once, which is no reason to end.
        let config = scene.configure("a.hcl", &CONFIG.replace("exit_on_err = true", ""));
        show(ca.client("web"));
        let mut agent = scene.start(&config, &[&trust]);
        let first = agent.token(&scene.at("token"), "").await;
        let told = scene.look_up(&first).await.expect("a token that works");
        assert_eq!(
            (&told["path"], &told["meta"]["common_name"]),
            (&json!("auth/cert/login"), &json!("web"))
        );
        show(ca.client("other"));
        let mut last = first;
        let other = loop {
            last = agent.token(&scene.at("token"), &last).await;
            match scene.look_up(&last).await {
                Some(told) if told["meta"]["common_name"] == "other" => break told,
                _ => {}
            }
        };
        assert_eq!(other["path"], "auth/cert/login");
        assert!(!agent.said().contains("PRIVATE KEY"));
    }
}
