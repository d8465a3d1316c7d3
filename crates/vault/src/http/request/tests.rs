use http_body_util::Full;
use serde_json::json;

use super::*;

/// The answer's status and first error, or what the request became.
async fn read_one(request: http::request::Builder, body: &str) -> Result<Incoming, (u16, Value)> {
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let limits = Limits { body: 1000, ..Limits::default() };
    let permits = Semaphore::new(1);
    let bodies = Bodies { all: &permits, large: &permits, room: None };
    read(request, "id".to_owned(), Connection::default(), &limits, &bodies).await.map_err(
        |refusal| {
            let crate::wire::OutgoingBody::Json(body) = refusal.body else {
                panic!("refusals are JSON")
            };
            (refusal.status, body["errors"].clone())
        },
    )
}

#[tokio::test]
async fn methods_and_queries_become_verbs() {
    for (method, target, want) in [
        ("GET", "/v1/kv/a", Ok(Verb::Read)),
        ("GET", "/v1/kv?list=true", Ok(Verb::List)),
        ("GET", "/v1/kv?list=1", Ok(Verb::List)),
        ("GET", "/v1/kv?list=false", Ok(Verb::Read)),
        ("GET", "/v1/kv?list=x", Err(400)),
        ("GET", "/v1/kv?scan=T", Ok(Verb::Scan)),
        ("GET", "/v1/kv?scan=T&list=T", Err(400)),
        ("GET", "/v1/kv?help=1", Ok(Verb::Help)),
        ("LIST", "/v1/kv", Ok(Verb::List)),
        ("SCAN", "/v1/kv", Ok(Verb::Scan)),
        ("PUT", "/v1/kv/a", Ok(Verb::Write)),
        ("POST", "/v1/kv/a", Ok(Verb::Write)),
        ("DELETE", "/v1/kv/a", Ok(Verb::Delete)),
        ("HEAD", "/v1/sys/health", Ok(Verb::Read)),
        ("HEAD", "/v1/kv/a", Err(405)),
        ("FOO", "/v1/kv/a", Err(405)),
        ("PUT", "/v1/kv/a/", Err(400)),
        ("GET", "/v1/kv//a", Err(400)),
        ("GET", "/v1/kv/%2e%2e/a", Err(400)),
        ("GET", "/v1", Err(404)),
        ("GET", "/ui/", Err(404)),
    ] {
        let got = read_one(Request::builder().method(method).uri(target), "").await;
        let got = got.map(|incoming| incoming.verb).map_err(|(status, _)| status);
        assert_eq!(got, want, "{method} {target}");
    }
}

#[tokio::test]
async fn a_read_carries_its_query_and_a_write_its_body() {
    let read = read_one(Request::get("/v1/kv/data/a?version=2&list=false"), "{bad").await.unwrap();
    assert_eq!(Value::Object(read.data), json!({"version": "2"}));
    let write = read_one(Request::put("/v1/kv/a?x=1"), "{\"v\":1}").await.unwrap();
    assert_eq!(Value::Object(write.data), json!({"v": 1}));
}

#[tokio::test]
async fn bodies_are_json_unless_they_are_forms() {
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, want) in [
        ("application/json", "{\"v\":1}", Ok(json!({"v": 1}))),
        ("text/plain", "{\"v\":1}", Ok(json!({"v": 1}))),
        ("", "null", Ok(json!({}))),
        (form, " {\"v\":1}", Ok(json!({"v": 1}))),
        (form, "a=b&c=d", Ok(json!({"a": "b", "c": "d"}))),
        (form, "null", Ok(json!({}))),
        ("application/json", "a=b", Err(400)),
    ] {
        let request = Request::post("/v1/kv/a").header(CONTENT_TYPE, content_type);
        let got = read_one(request, body).await;
        let got = got.map(|incoming| Value::Object(incoming.data)).map_err(|(status, _)| status);
        assert_eq!(got, want, "{content_type} {body}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_a_patch_of_another_type_415() {
    let body = format!("{{\"v\":\"{}\"}}", "x".repeat(1000));
    let (status, errors) = read_one(Request::put("/v1/kv/a"), &body).await.unwrap_err();
    assert_eq!((status, errors), (413, json!(["http: request body too large"])));

    for (content_type, want) in [
        ("application/merge-patch+json", None),
        ("application/merge-patch+json; charset=utf-8", None),
        ("application/json", Some(415)),
        ("", Some(400)),
    ] {
        let request = Request::patch("/v1/kv/a").header(CONTENT_TYPE, content_type);
        let got = read_one(request, "{}").await.err().map(|(status, _)| status);
        assert_eq!(got, want, "{content_type:?}");
    }
}

#[tokio::test]
async fn the_token_comes_from_either_header_and_is_not_passed_on() {
    for (name, value, want) in [
        ("x-vault-token", "s.abc", Some("s.abc")),
        ("X-Vault-Token", " s.abc ", Some("s.abc")),
        ("authorization", "Bearer s.abc", Some("s.abc")),
        ("authorization", "bearer s.abc", None),
        ("authorization", "Basic abc", None),
        ("x-vault-token", "", None),
    ] {
        let got = read_one(Request::get("/v1/kv/a").header(name, value), "").await.unwrap();
        let token = got.token.as_ref().map(|token| token.expose().as_str());
        assert_eq!(token, want, "{name}: {value}");
        assert!(!got.headers.values().any(|value| value.contains("s.abc") && want.is_some()));
    }
}

#[tokio::test]
async fn wrapping_and_namespaces_are_checked() {
    for (name, value, want) in [
        ("x-vault-wrap-ttl", "60", Ok(Some(60))),
        ("x-vault-wrap-ttl", "1m", Ok(Some(60))),
        ("x-vault-wrap-ttl", "0", Ok(None)),
        ("x-vault-wrap-ttl", "", Ok(None)),
        ("x-vault-wrap-ttl", "-1", Err(400)),
        ("x-vault-wrap-ttl", "abc", Err(400)),
        ("x-vault-namespace", "", Ok(None)),
        ("x-vault-namespace", "/", Ok(None)),
        ("x-vault-namespace", "root/", Ok(None)),
        ("x-vault-namespace", "team", Err(404)),
    ] {
        let got = read_one(Request::get("/v1/kv/a").header(name, value), "").await;
        let got = got.map(|i| i.wrap_ttl.map(|ttl| ttl.as_secs())).map_err(|(status, _)| status);
        assert_eq!(got, want, "{name}: {value}");
    }
}

#[tokio::test]
async fn what_is_read_of_bodies_at_the_same_time_is_bounded() {
    let permits = Semaphore::new(1);
    let bodies = Bodies { all: &permits, large: &permits, room: None };
    let limits = Limits { body: 1 << 20, ..Limits::default() };
    let ask = |size| {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(size));
        let request = Request::put("/v1/kv/a").body(Full::new(Bytes::from(body))).unwrap();
        read(request, "id".to_owned(), Connection::default(), &limits, &bodies)
    };
    let other = permits.acquire().await.unwrap();
    ask(1000).await.unwrap();
    let mut waiting = Box::pin(ask(5000));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(other);
    waiting.await.unwrap();
    assert_eq!(permits.available_permits(), 1);
}
