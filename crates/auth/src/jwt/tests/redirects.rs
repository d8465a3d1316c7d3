//! Logins with redirects, at a fake issuer. Words are the real server's but where a row says
//! otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_logical::Operation::{Create, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Error};
use reqwest::Url;
use serde_json::{Value, json};

use super::{NOW, mount};
use crate::issuer::{Issuer, Signer};

const BACK: &str = "http://localhost:8250/oidc/callback";

struct World {
    issuer: Issuer,
    signer: Signer,
    mount: Mount,
}

impl World {
    async fn new(role: Value) -> Self {
        let issuer = Issuer::start(None).await;
        let signer = Signer::new("k1");
        issuer.publish(&[&signer]);
        let mount = mount(json!({
            "oidc_discovery_url": issuer.url, "oidc_client_id": "me", "oidc_client_secret": "a b",
            "default_role": "r",
        }))
        .await;
        let mut data = json!({ "user_claim": "sub", "allowed_redirect_uris": [BACK] });
        data.as_object_mut().unwrap().append(&mut role.as_object().unwrap().clone());
        mount.walk(&[(Create, "role/r", data, 204)]).await;
        Self { issuer, signer, mount }
    }

    /// Begins a login; gives what the user's browser brings to the issuer.
    async fn begin(&self, more: Value) -> BTreeMap<String, String> {
        let mut data = json!({ "role": "r", "redirect_uri": BACK });
        data.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        let (status, answer) = self.mount.ask(Update, "oidc/auth_url", data).await;
        assert_eq!(status, 200, "{answer}");
        let url = Url::parse(answer["auth_url"].as_str().unwrap()).unwrap();
        assert_eq!(url.path(), "/authorize");
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// The issuer takes the next code for a token with these claims over the usual ones.
    fn expect(&self, begun: &BTreeMap<String, String>, claims: &Value) {
        let mut all = json!({
            "iss": self.issuer.url, "aud": "me", "sub": "alice", "nonce": begun["nonce"],
            "iat": NOW, "exp": NOW + 300,
        });
        all.as_object_mut().unwrap().append(&mut claims.as_object().unwrap().clone());
        let tokens = json!({ "id_token": self.signer.sign(&all), "access_token": "at" });
        self.issuer.exchange_for(200, tokens);
    }

    /// The user's browser comes back.
    async fn end(&self, query: Value) -> Result<Auth, Error> {
        let mut request = self.mount.request(Read, "oidc/callback", &query);
        request.caller = None;
        let answer = self.mount.put(&request).await?;
        answer.and_then(|response| response.auth).ok_or(Error::NotFound)
    }

    async fn refusal(&self, query: Value) -> String {
        self.end(query).await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_login_goes_by_the_issuer_and_back() {
    let world = World::new(json!({
        "oidc_scopes": "profile,openid", "token_policies": "p", "claim_mappings": { "mail": "m" },
        "groups_claim": "g", "oauth2_metadata": "access_token",
    }))
    .await;
    let begun = world.begin(json!({ "client_nonce": "mine" })).await;
    for (name, want) in [
        ("tenant", "t"),
        ("client_id", "me"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid profile"),
    ] {
        assert_eq!(begun[name], want, "{name}");
    }
    assert_eq!(begun.get("max_age"), None);
    world.expect(&begun, &json!({ "g": ["one"] }));
    world.issuer.know(json!({ "sub": "alice", "mail": "a@b", "g": ["forged"] }));
    let query = json!({ "state": begun["state"], "code": "c&d", "client_nonce": "mine" });
    let auth = world.end(query.clone()).await.unwrap();
    assert_eq!(auth.alias.unwrap().name, "alice");
    assert_eq!(auth.params.token_policies, ["p"]);
    assert_eq!(auth.group_aliases, ["one"], "the signed token's claims hold");
    let metadata = json!({ "role": "r", "m": "a@b", "oauth2_access_token": "at" });
    assert_eq!(json!(auth.metadata), metadata);

    let asked = world.issuer.asked();
    // `me:a+b`, as RFC 6749 encodes the two.
    assert!(asked.contains("Basic bWU6YSti\r\n"), "{asked}");
    let form: BTreeMap<_, _> =
        form_urlencoded::parse(asked.split("\r\n\r\n").nth(1).unwrap().as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
    assert_eq!(form["code"], "c&d");
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["redirect_uri"], BACK);
    assert_eq!(challenge(&form["code_verifier"]), begun["code_challenge"]);

    let twice = world.refusal(query).await;
    assert_eq!(twice, "OpenBao login failed. Expired or missing OAuth state.");
}

fn challenge(verifier: &str) -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test]
async fn a_token_that_was_not_made_for_this_login_is_refused() {
    let world = World::new(json!({ "max_age": 60, "bound_claims": { "team": "red" } })).await;
    let stranger = Signer::new("k1");
    let verify = "Provider.Exchange: id_token failed verification: ";
    let good = json!({ "auth_time": NOW, "team": "red" });
    // The cause after each of these is told in words of our own.
    for (claims, want) in [
        (json!({ "nonce": "other" }), format!("{verify}invalid id_token nonce: invalid nonce")),
        (json!({ "nonce": null }), format!("{verify}invalid id_token nonce: invalid nonce")),
        (json!({ "iss": "http://other" }), format!("{verify}invalid id_token: invalid issuer")),
        (
            json!({ "aud": "other" }),
            format!("{verify}invalid id_token audiences: invalid audience"),
        ),
        (
            json!({ "aud": ["me", "other"] }),
            format!("{verify}invalid id_token: invalid authorized party (azp)"),
        ),
        (
            json!({ "auth_time": null }),
            format!(
                "{verify}missing auth_time claim when max age was requested: missing required claim"
            ),
        ),
        (
            json!({ "auth_time": NOW - 200 }),
            format!("{verify}invalid auth_time claim: the user logged in too long ago"),
        ),
        (
            json!({ "exp": NOW - 300 }),
            format!("{verify}invalid expiration time (exp) claim: token is expired"),
        ),
    ] {
        let begun = world.begin(json!({})).await;
        assert_eq!(begun["max_age"], "60");
        let mut all = good.clone();
        all.as_object_mut().unwrap().append(&mut claims.as_object().unwrap().clone());
        world.expect(&begun, &all);
        let got = world.refusal(json!({ "state": begun["state"], "code": "c" })).await;
        let want = format!("OpenBao login failed. Error exchanging oidc code: {want:?}.");
        assert_eq!(got, want, "{claims}");
    }

    let begun = world.begin(json!({})).await;
    world.issuer.exchange_for(200, json!({ "id_token": stranger.sign(&good) }));
    let got = world.refusal(json!({ "state": begun["state"], "code": "c" })).await;
    assert!(got.contains("error verifying token signature"), "{got}");

    let begun = world.begin(json!({})).await;
    world.expect(&begun, &json!({ "auth_time": NOW, "team": "blue" }));
    let got = world.refusal(json!({ "state": begun["state"], "code": "c" })).await;
    assert!(got.starts_with("error validating claims"), "{got}");

    let begun = world.begin(json!({})).await;
    world.expect(&begun, &good);
    world.end(json!({ "state": begun["state"], "code": "c" })).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_of_a_login_is_short() {
    let world = World::new(json!({ "allowed_redirect_uris": ["http://localhost:1/cb"] })).await;
    // Line breaks are no part of a URL to those who compare it.
    let padded = |blanks| format!("http://localhost:1/cb{}", "\n".repeat(blanks));
    for (data, want) in [
        (json!({ "redirect_uri": padded(1) }), 200),
        (json!({ "redirect_uri": padded(5000) }), 400),
        (json!({ "redirect_uri": padded(0), "client_nonce": "n".repeat(2048) }), 200),
        (json!({ "redirect_uri": padded(0), "client_nonce": "n".repeat(2049) }), 400),
    ] {
        let (status, answer) = world.mount.ask(Update, "oidc/auth_url", data).await;
        assert_eq!(status, want, "{answer}");
    }
}

#[tokio::test]
async fn what_the_browser_brings_back_is_checked() {
    let world = World::new(json!({})).await;
    let begun = async |more| world.begin(more).await["state"].clone();
    let exchange = "OpenBao login failed. Error exchanging oidc code: ";
    assert_eq!(
        world.refusal(json!({ "state": begun(json!({})).await })).await,
        "OpenBao login failed. No code or id_token received."
    );
    let denied = json!({ "state": begun(json!({})).await, "error": "access_denied" });
    assert_eq!(world.refusal(denied).await, "OpenBao login failed. access_denied");
    let state = begun(json!({ "client_nonce": "mine" })).await;
    assert_eq!(world.refusal(json!({ "state": state, "code": "c" })).await, "invalid client_nonce");

    let refused = json!({ "error": "invalid_grant", "error_description": "bad code" });
    world.issuer.exchange_for(400, refused);
    assert_eq!(
        world.refusal(json!({ "state": begun(json!({})).await, "code": "c" })).await,
        format!(
            "{exchange}{:?}.",
            "Provider.Exchange: unable to exchange auth code with provider: oauth2: \
             \"invalid_grant\" \"bad code\""
        )
    );
    world.issuer.exchange_for(200, json!({ "access_token": "at" }));
    assert_eq!(
        world.refusal(json!({ "state": begun(json!({})).await, "code": "c" })).await,
        format!(
            "{exchange}{:?}.",
            "Provider.Exchange: id_token is missing from auth code exchange: id_token is missing"
        )
    );
    let state = begun(json!({})).await;
    world.mount.clock.advance(Duration::from_secs(600));
    assert_eq!(
        world.refusal(json!({ "state": state, "code": "c" })).await,
        "OpenBao login failed. Expired or missing OAuth state."
    );
}

#[tokio::test]
async fn a_login_begins_only_where_the_role_allows_it() {
    let world = World::new(json!({})).await;
    let ask = async |data| world.mount.ask(Update, "oidc/auth_url", data).await;
    for (data, want) in [
        (json!({}), "missing redirect_uri"),
        (json!({ "role": "none" }), "role \"none\" could not be found"),
    ] {
        assert_eq!(ask(data.clone()).await, (400, want.into()), "{data}");
    }
    let nowhere = (200, json!({ "auth_url": "" }));
    assert_eq!(ask(json!({ "redirect_uri": "http://evil/oidc/callback" })).await, nowhere);

    let direct = json!({
        "user_claim": "sub", "allowed_redirect_uris": [BACK], "callback_mode": "direct",
    });
    let jwt = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "me" });
    world.mount.walk(&[(Create, "role/d", direct, 204), (Create, "role/j", jwt, 204)]).await;
    assert_eq!(ask(json!({ "role": "j", "redirect_uri": BACK })).await, nowhere);
    // Not the real server's, which supports it.
    let (status, words) = ask(json!({ "role": "d", "redirect_uri": BACK })).await;
    assert_eq!((status, words), (400, "'callback_mode' \"direct\" is not supported".into()));
    let login = json!({ "role": "r", "jwt": "x" });
    assert_eq!(
        world.mount.ask(Update, "login", login).await,
        (400, "role with oidc role_type is not allowed".into())
    );
    let poll = world.mount.ask(Update, "oidc/poll", json!({ "state": "x" })).await;
    assert_eq!(poll, (400, "OpenBao login failed. Expired or missing OAuth state.".into()));

    let config = json!({ "oidc_discovery_url": world.issuer.url });
    world.mount.walk(&[(Update, "config", config, 204)]).await;
    assert_eq!(
        ask(json!({ "redirect_uri": BACK })).await,
        (400, "OIDC login is not configured for this mount".into())
    );
}
