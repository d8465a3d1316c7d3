//! Requests that pass through the agent.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use holdfast_client::vault::{Method, Response, Trust};
use holdfast_conformance::vault;
use holdfast_testkit::Ca;
use serde_json::json;

use super::*;

const SOCKET: &str = "listener \"unix\" { address = \"FOLDER/agent.sock\" }\n";
const TOKEN: &str = "api_proxy { use_auto_auth_token = true }\n";

/// A client that asks the agent, without a token.
fn through(scene: &Scene) -> VaultClient {
    client(&format!("unix://{}", scene.at("agent.sock").display()))
}

/// An agent that serves, and its first token.
async fn serving(scene: &Scene, more: &str) -> (Agent, String) {
    scene.put_ids().await;
    // Of an agent before.
    let _ = fs::remove_file(scene.at("token"));
    let config = scene.configure("a.hcl", &format!("{APPROLE}{SOCKET}{more}"));
    let mut agent = scene.start(&config, &[]);
    let token = agent.token(&scene.at("token"), "").await;
    (agent, token)
}

async fn ask(client: &VaultClient, path: &str, body: Value) -> Response {
    client.request(Method::POST, path, Some(&body), &[]).await.unwrap()
}

fn cache(response: &Response) -> &str {
    response.headers.get("x-cache").map_or("", |value| value.to_str().unwrap())
}

fn made(response: &Response) -> String {
    response.reply().unwrap().auth.unwrap().client_token.expose().clone()
}

/// What no browser sends for another site.
const FIELD: &str = "X-Vault-Request: true\r\n";

/// A request as bytes, and the answer's status and body.
fn raw(scene: &Scene, request: &str, fields: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(scene.at("agent.sock")).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}").unwrap();
    write!(stream, "Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

#[tokio::test]
async fn requests_without_a_token_get_the_agents() {
    for scene in Scene::both().await {
        let (_agent, token) = serving(&scene, TOKEN).await;
        let asking = through(&scene);
        let reply = asking.read("secret/data/a", &[]).await.unwrap().unwrap();
        assert_eq!(reply.data.unwrap()["data"]["v"], "1");
        asking.write("secret/data/b", &json!({ "data": { "v": "2" } })).await.unwrap();
        // A caller's own token counts.
        let own = asking.with_token(Some(StockServer::ROOT_TOKEN.into()));
        assert_eq!(own.token_lookup_self().await.unwrap()["id"], "root");
        // The agent's token can be used, and not be had.
        let own = asking.token_lookup_self().await.unwrap();
        assert_eq!((own.get("id"), own.get("accessor")), (None, None));
        assert_eq!(own["path"], "auth/approle/login");
        let wrapped = asking.with_wrap_ttl(Some("1m".into()));
        for (client, verb, path) in [
            (&asking, Method::POST, "auth/token/renew-self"),
            (&asking, Method::GET, "auth//token/lookup-self"),
            (&wrapped, Method::GET, "auth/token/lookup-self"),
        ] {
            let answer = client.request(verb, path, None, &[]).await.unwrap();
            let text = String::from_utf8_lossy(answer.body.expose()).into_owned();
            assert!(!text.contains(&token) && !text.contains("wrap_info\":{"), "{path}: {text}");
        }
        for path in ["auth/token/lookup%2Dself", "auth//token/lookup-self"] {
            let (_, text) = raw(&scene, &format!("GET /v1/{path}"), FIELD, "");
            assert!(!text.contains(&token), "{path}: {text}");
        }
        let answer = asking.request(Method::GET, "secret/data/none", None, &[]).await.unwrap();
        assert_eq!(answer.status, 404);
    }
}

#[tokio::test]
async fn without_the_setting_callers_bring_their_own_and_with_force_the_agents_counts() {
    let scene = Scene::ours().await;
    let (mut agent, _) = serving(&scene, "").await;
    let denied = through(&scene).read("secret/data/a", &[]).await.unwrap_err();
    assert_eq!(denied.status(), Some(403));
    let root = through(&scene).with_token(Some(StockServer::ROOT_TOKEN.into()));
    assert!(root.read("secret/data/a", &[]).await.unwrap().is_some());
    agent.kill();

    let (_agent, _) = serving(&scene, &TOKEN.replace("true", "\"force\"")).await;
    let root = through(&scene).with_token(Some(StockServer::ROOT_TOKEN.into()));
    assert_eq!(root.token_lookup_self().await.unwrap()["path"], "auth/approle/login");
}

#[tokio::test]
async fn a_refusal_through_the_agent_brings_another_login_where_the_token_is_dead() {
    for scene in Scene::both().await {
        let (mut agent, first) = serving(&scene, TOKEN).await;
        // Refused by a policy, the token is not dead.
        let denied = through(&scene).read("sys/policies/acl/app", &[]).await.unwrap_err();
        assert_eq!(denied.status(), Some(403));
        scene.write("auth/token/revoke", &json!({ "token": first })).await;
        let asking = through(&scene);
        let works = async || asking.read("secret/data/a", &[]).await.ok().map(drop);
        agent.until("the next requests work", works).await;
        assert_eq!(agent.said().matches("logged in generation").count(), 2, "{}", agent.said());
    }
}

#[tokio::test]
async fn answers_with_a_lease_are_kept_until_it_ends() {
    for scene in Scene::both().await {
        let (_agent, token) = serving(&scene, &format!("{TOKEN}cache {{}}\n")).await;
        let asking = through(&scene);
        let body = json!({ "ttl": "10m", "policies": ["default"] });
        let create = async |body: &Value| ask(&asking, "auth/token/create", body.clone()).await;
        let first = create(&body).await;
        assert_eq!((cache(&first), first.status.as_u16()), ("MISS", 200));
        let second = create(&body).await;
        assert_eq!((cache(&second), made(&second)), ("HIT", made(&first)));
        assert!(second.headers.contains_key("age"));
        // Another body, and another token, are another request.
        assert_eq!(cache(&create(&json!({ "ttl": "11m", "policies": ["default"] })).await), "MISS");
        let other = asking.with_token(Some(StockServer::ROOT_TOKEN.into()));
        assert_ne!(made(&ask(&other, "auth/token/create", body.clone()).await), made(&first));
        // Secrets without a lease are never kept.
        for _ in 0..2 {
            let read = asking.request(Method::GET, "secret/data/a", None, &[]).await.unwrap();
            assert_eq!(cache(&read), "MISS");
        }
        // Many at once are one.
        let body = json!({ "ttl": "12m", "policies": ["default"] });
        let many = (0..10).map(|_| create(&body));
        let many = futures_util::future::join_all(many).await;
        let tokens: std::collections::BTreeSet<_> = many.iter().map(made).collect();
        assert_eq!(tokens.len(), 1);

        // Revoked through the agent, it is gone.
        let kept = many.into_iter().next().unwrap();
        asking.with_token(Some(made(&kept).into())).token_revoke_self().await.unwrap();
        let again = create(&body).await;
        assert_eq!(cache(&again), "MISS");
        assert!(scene.look_up(&made(&again)).await.is_some());
        // Cleared, too.
        let clear = |body: &str| raw(&scene, "PUT /agent/v1/cache-clear", "", body).0;
        let value = json!({ "type": "token", "value": made(&again) }).to_string();
        assert_eq!(clear(&value), 200);
        assert_eq!(cache(&create(&body).await), "MISS");
        assert_eq!(clear("{\"type\":\"all\"}"), 200);
        assert_eq!(cache(&create(&body).await), "MISS");
        assert_eq!((clear("{\"type\":\"x\"}"), clear("{")), (400, 400));
        assert!(scene.look_up(&token).await.is_some());
    }
}

#[tokio::test]
async fn what_is_kept_is_kept_alive_and_let_go_before_it_dies() {
    let scene = Scene::ours().await;
    let (mut agent, _) = serving(&scene, &format!("{TOKEN}cache {{}}\n")).await;
    let asking = through(&scene);
    let body = json!({ "ttl": "6s", "explicit_max_ttl": "10s", "policies": ["default"] });
    let start = Instant::now();
    let first = made(&ask(&asking, "auth/token/create", body.clone()).await);
    let replaced = async || {
        let response = ask(&asking, "auth/token/create", body.clone()).await;
        let token = made(&response);
        assert!(scene.look_up(&token).await.is_some(), "{} is dead", cache(&response));
        (token != first).then_some(())
    };
    agent.until("another, in the end", replaced).await;
    assert!(start.elapsed() > Duration::from_secs(7), "it was renewed past its first life");
}

#[tokio::test]
async fn the_agents_own_paths() {
    let scene = Scene::ours().await;
    let more = format!(
        "{TOKEN}listener \"unix\" {{ address = \"FOLDER/metrics.sock\" role = \"metrics_only\" }}\n"
    );
    let socket =
        SOCKET.replace("{ ", "{ require_request_header = true agent_api { enable_quit = true } ");
    scene.put_ids().await;
    let config = scene.configure("a.hcl", &format!("{APPROLE}{socket}{more}"));
    let mut agent = scene.start(&config, &[]);
    agent.token(&scene.at("token"), "").await;
    let (status, body) = raw(&scene, "GET /v1/secret/data/a", "", "");
    assert_eq!((status, body.contains("X-Vault-Request")), (412, true), "{body}");
    assert!(through(&scene).read("secret/data/a", &[]).await.unwrap().is_some());
    let (status, body) = raw(&scene, "GET /agent/v1/metrics?format=prometheus", "", "");
    assert_eq!(status, 200);
    assert!(body.contains("vault_agent_authenticated 1"), "{body}");
    assert!(body.contains("vault_agent_proxy_success 1"), "{body}");
    let (status, body) = raw(&scene, "GET /agent/v1/metrics", "", "");
    assert!(status == 200 && serde_json::from_str::<Value>(&body).is_ok(), "{body}");
    let metrics = client(&format!("unix://{}", scene.at("metrics.sock").display()));
    let answer = metrics.request(Method::GET, "secret/data/a", None, &[]).await.unwrap();
    assert_eq!(answer.status, 404);
    let quit =
        |method: &str, fields| raw(&scene, &format!("{method} /agent/v1/quit"), fields, "").0;
    assert_eq!((quit("POST", ""), quit("GET", FIELD), quit("POST", FIELD)), (412, 405, 200));
    assert!(agent.end().await.success());
}

#[tokio::test]
async fn bodies_are_bounded_and_large_ones_pass() {
    let scene = Scene::ours().await;
    let socket = SOCKET.replace("{ ", "{ max_request_size = 3000000 ");
    scene.put_ids().await;
    let config = scene.configure("a.hcl", &format!("{APPROLE}{socket}{TOKEN}cache {{}}\n"));
    let mut agent = scene.start(&config, &[]);
    agent.token(&scene.at("token"), "").await;
    let asking = through(&scene);
    let large = "x".repeat(1_000_000);
    let data = json!({ "data": { "a": large, "b": large } });
    asking.write("secret/data/large", &data).await.unwrap();
    let reply = asking.read("secret/data/large", &[]).await.unwrap().unwrap();
    assert_eq!(reply.data.unwrap()["data"]["b"], large);
    let body = json!({ "data": { "a": "x".repeat(3_000_000) } });
    let refused = asking.request(Method::POST, "secret/data/c", Some(&body), &[]).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == 413));
}

#[tokio::test]
async fn hvac_walks_through_the_agent_to_both_servers() {
    let stock = Stock::install();
    for scene in Scene::both().await {
        let ca = Ca::new("agent");
        let leaf = ca.server(&["localhost", "127.0.0.1"]);
        fs::write(scene.at("ca.pem"), ca.pem()).unwrap();
        fs::write(scene.at("cert.pem"), &leaf.certificate_pem).unwrap();
        fs::write(scene.at("key.pem"), &leaf.key_pem).unwrap();
        let listener = "listener \"tcp\" { address = \"127.0.0.1:0\" \
            tls_cert_file = \"FOLDER/cert.pem\" tls_key_file = \"FOLDER/key.pem\" }\n";
        scene.put_ids().await;
        let config = scene.configure("a.hcl", &format!("{APPROLE}{listener}"));
        let mut agent = scene.start(&config, &[]);
        agent.token(&scene.at("token"), "").await;
        let said = agent.said();
        let port = said.split("address=https://127.0.0.1:").nth(1).expect("it says where");
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("https://localhost:{port}");
        let mut config = VaultConfig::new(address.parse().unwrap());
        config.trust = Trust::File(scene.at("ca.pem"));
        let health = VaultClient::new(&config).unwrap().health().await.unwrap();
        assert!(!health.sealed);
        let authority = scene.at("ca.pem");
        vault::walk_with_hvac(&stock, &address, Some(&authority), StockServer::ROOT_TOKEN)
            .unwrap_or_else(|error| panic!("{error:?}\n{}", agent.said()));
    }
}
