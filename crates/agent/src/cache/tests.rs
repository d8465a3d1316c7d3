use super::clear::ClearError;
use super::*;

const LIMITS: CacheConfig = CacheConfig { max_entries: 3, max_bytes: 64 << 10 };

fn kept(length: usize) -> Kept {
    let body = Arc::new(SecretBytes::new(vec![b'x'; length]));
    let (status, headers) = (StatusCode::OK, HeaderMap::new());
    Kept { status, headers, body, at: Instant::now(), until: Until::default() }
}

fn key(name: &str) -> Key {
    digest(name)
}

fn lease(id: &str, token: &str) -> Holds {
    Holds::Lease { id: id.into(), token: digest(token) }
}

fn token(name: &str, parent: Option<&str>) -> Holds {
    let accessor = format!("accessor of {name}");
    Holds::Token { token: digest(name), accessor, parent: parent.map(digest) }
}

fn put(cache: &Cache, name: &str, holds: Holds) -> Option<CancellationToken> {
    let origin = Origin { path: format!("/v1/{name}"), namespace: String::new() };
    cache.insert(key(name), kept(100), holds, origin)
}

/// A cache that knows the agent's token.
fn cache() -> (Arc<Cache>, CancellationToken) {
    let cache = Arc::new(Cache::new(LIMITS));
    let end = CancellationToken::new();
    cache.manage(digest("agent"), end.clone());
    (cache, end)
}

fn present(cache: &Cache, names: &[&str]) -> Vec<String> {
    let present =
        names.iter().filter(|name| cache.get(&key(name), Timestamp::UNIX_EPOCH).is_some());
    present.map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn only_what_belongs_to_a_known_token_is_kept() {
    let (cache, _end) = cache();
    assert!(put(&cache, "a", lease("l/1", "agent")).is_some());
    assert!(put(&cache, "b", lease("l/2", "stranger")).is_none());
    assert!(put(&cache, "c", token("child", Some("stranger"))).is_none());
    assert!(put(&cache, "d", token("child", Some("agent"))).is_some());
    assert!(put(&cache, "e", lease("l/3", "child")).is_some());
    assert_eq!(present(&cache, &["a", "b", "c", "d", "e"]), ["a", "d", "e"]);
}

#[tokio::test]
async fn what_has_ended_on_the_wall_is_given_to_nobody() {
    let (cache, _end) = cache();
    let kept = kept(1);
    let until = kept.until.clone();
    until.set(Timestamp::from_second(100).unwrap());
    let origin = Origin { path: "/v1/a".into(), namespace: String::new() };
    cache.insert(key("a"), kept, lease("l/1", "agent"), origin).unwrap();
    for (second, there) in [(99, true), (100, false), (200, false)] {
        let now = Timestamp::from_second(second).unwrap();
        assert_eq!(cache.get(&key("a"), now).is_some(), there, "{second}");
    }
    until.set(Timestamp::from_second(300).unwrap());
    assert!(cache.get(&key("a"), Timestamp::from_second(200).unwrap()).is_some(), "renewed");
}

#[tokio::test]
async fn the_end_of_a_token_is_the_end_of_all_that_hangs_on_it() {
    let (cache, end) = cache();
    put(&cache, "login", token("child", Some("agent"))).unwrap();
    put(&cache, "leaf", lease("l/1", "child")).unwrap();
    put(&cache, "own", lease("l/2", "agent")).unwrap();
    cache.clear(&Clear::Token(digest("child")));
    assert_eq!(present(&cache, &["login", "leaf", "own"]), ["own"]);
    end.cancel();
    assert_eq!(cache.size(), (0, 0));
    assert!(put(&cache, "late", lease("l/3", "agent")).is_none());
}

#[tokio::test]
async fn the_cache_is_bounded_and_the_oldest_goes_first() {
    let (cache, _end) = cache();
    for name in ["a", "b", "c", "d"] {
        put(&cache, name, lease(name, "agent")).unwrap();
    }
    assert_eq!(present(&cache, &["a", "b", "c", "d"]), ["b", "c", "d"]);
    let origin = Origin { path: "/v1/x".into(), namespace: String::new() };
    let large = cache.insert(key("x"), kept(32 << 10), lease("x", "agent"), origin.clone());
    assert!(large.is_none(), "one answer never pushes out most others");
    for name in ["e", "f", "g", "h", "i"] {
        cache.insert(key(name), kept(14 << 10), lease(name, "agent"), origin.clone());
    }
    let (entries, bytes) = cache.size();
    assert!(entries <= 3 && bytes <= 64 << 10, "{entries} {bytes}");
}

#[tokio::test]
async fn entries_are_cleared_by_what_they_are() {
    let own = |path: &str| Clear::Path { prefix: path.into(), namespace: String::new() };
    let other = Clear::Path { prefix: "/v1/".into(), namespace: "team".into() };
    for (clear, left) in [
        (Clear::All, &[][..]),
        (own("/v1/db"), &["login"]),
        (other, &["db/1", "login", "db/2"]),
        (Clear::Lease("db/1".into()), &["login", "db/2"]),
        (Clear::LeasePrefix("db".into()), &["login"]),
        (Clear::Accessor("accessor of child".into()), &["db/1"]),
        // The agent's token goes on, without what was made with it.
        (Clear::Token(digest("agent")), &[]),
    ] {
        let (cache, _end) = cache();
        put(&cache, "db/1", lease("db/1", "agent")).unwrap();
        put(&cache, "login", token("child", Some("agent"))).unwrap();
        put(&cache, "db/2", lease("db/2", "child")).unwrap();
        cache.clear(&clear);
        assert_eq!(present(&cache, &["db/1", "login", "db/2"]), left, "{clear:?}");
        assert!(put(&cache, "new", lease("n", "agent")).is_some());
    }
}

#[test]
fn a_request_to_clear_is_read_as_the_stock_agent_reads_it() {
    for (body, want) in [
        ("{\"type\":\"all\"}", Ok(Clear::All)),
        ("{\"type\":\"lease\",\"value\":\"l\"}", Ok(Clear::Lease("l".into()))),
        ("{\"type\":\"token\",\"value\":\"t\"}", Ok(Clear::Token(digest("t")))),
        ("{\"type\":\"lease\"}", Err(ClearError::Missing("lease"))),
        ("{\"type\":\"x\"}", Err(ClearError::Kind)),
        ("", Err(ClearError::Json("empty JSON provided".into()))),
        ("{", Err(ClearError::Json("error at column 1".into()))),
    ] {
        assert_eq!(Clear::parse(body.as_bytes()), want, "{body}");
    }
}

#[test]
fn revocations_are_recognised() {
    let lease = |id: &str| Some(Clear::Lease(id.into()));
    for (path, body, want) in [
        ("auth/token/revoke-self", "", Some(Clear::Token(digest("own")))),
        ("auth/token/revoke", "{\"token\":\"t\"}", Some(Clear::Token(digest("t")))),
        ("auth/token/revoke-accessor", "{\"accessor\":\"a\"}", Some(Clear::Accessor("a".into()))),
        ("sys/leases/revoke", "{\"lease_id\":\"l\"}", lease("l")),
        ("sys/leases/revoke/db/creds/x", "", lease("db/creds/x")),
        ("sys/leases/revoke-prefix/db", "", Some(Clear::LeasePrefix("db".into()))),
        ("sys/leases/revoke", "no json", None),
        ("kv/data/revoke", "{}", None),
    ] {
        assert_eq!(revoked_by(path, Some("own"), body.as_bytes()), want, "{path}");
    }
}

#[test]
fn requests_differ_by_what_answers_depend_on() {
    let mut headers = HeaderMap::new();
    headers.insert("x-vault-namespace", "a".parse().unwrap());
    headers.insert("user-agent", "one".parse().unwrap());
    let get = http::Method::GET;
    let base = request_key(&get, "/v1/a", &headers, Some("t"), b"");
    headers.insert("user-agent", "two".parse().unwrap());
    assert_eq!(base, request_key(&get, "/v1/a", &headers, Some("t"), b""));
    let differing = [
        request_key(&http::Method::PUT, "/v1/a", &headers, Some("t"), b""),
        request_key(&get, "/v1/a?x", &headers, Some("t"), b""),
        request_key(&get, "/v1/a", &HeaderMap::new(), Some("t"), b""),
        request_key(&get, "/v1/a", &headers, Some("u"), b""),
        request_key(&get, "/v1/a", &headers, None, b"t"),
    ];
    assert!(differing.iter().all(|key| *key != base));
}

#[tokio::test]
async fn others_wait_for_whoever_asks_the_same() {
    let (cache, _end) = cache();
    let Turn::Ask(asking) = cache.turn(key("a")) else { panic!("the first asks") };
    let Turn::Wait(mut waiting) = cache.turn(key("a")) else { panic!("the second waits") };
    assert!(matches!(cache.turn(key("b")), Turn::Ask(_)));
    drop(asking);
    assert!(waiting.changed().await.is_err(), "the sender is gone: it is done");
    assert!(matches!(cache.turn(key("a")), Turn::Ask(_)));
}
