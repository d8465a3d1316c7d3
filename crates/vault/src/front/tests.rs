//! The life cycle and the server's own paths, over a barrier in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use holdfast_barrier::physical::InMemory;
use holdfast_barrier::{Barrier, Physical, SealConfig, StaticKey};
use holdfast_logical::Connection;
use holdfast_testkit::FakeClock;
use holdfast_types::{Random, SecretBytes, SecretString, SystemClock, SystemRandom};
use serde_json::{Value, json};

use super::*;
use crate::audit::{Allowances, DeviceSpec};
use crate::config::InitRequest;
use crate::core::Limits;
use crate::server::mountable;
use crate::wire::OutgoingBody;

const SEAL_KEY: [u8; 32] = [7; 32];

struct Server {
    front: Front,
    physical: Arc<dyn Physical>,
    token: Option<SecretString>,
}

/// A server over this storage, as a process that starts makes it.
async fn open(physical: Arc<dyn Physical>, with_static_seal: bool, audit: &[DeviceSpec]) -> Server {
    open_at(physical, with_static_seal, audit, Arc::new(SystemClock)).await
}

async fn open_at(
    physical: Arc<dyn Physical>,
    with_static_seal: bool,
    audit: &[DeviceSpec],
    clock: Arc<dyn Clock>,
) -> Server {
    let key = || SecretBytes::new(SEAL_KEY.to_vec());
    let seal = match with_static_seal {
        false => SealConfig::Shamir,
        true => {
            SealConfig::Static { current: StaticKey::parse("k1", &key()).unwrap(), previous: None }
        }
    };
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let barrier =
        Barrier::open(physical.clone(), seal, clock.clone(), random.clone()).await.unwrap();
    let lifecycle = Lifecycle::new(LifecycleParts {
        barrier: Arc::new(barrier),
        static_key: with_static_seal.then(key),
        registry: mountable(),
        limits: Limits::default(),
        api_addr: String::new(),
        audit: audit.to_vec(),
        audit_allowances: Allowances { creation_by_api: true, ..Allowances::default() },
        cluster_name: None,
        logs: crate::logs::Logs::detached(),
        sanitized: Value::Null,
        in_flight: Arc::default(),
        clock: clock.clone(),
        random,
    });
    Server { front: Front::new(Arc::new(lifecycle), clock), physical, token: None }
}

async fn shamir() -> Server {
    open(Arc::new(InMemory::new()), false, &[]).await
}

impl Server {
    async fn ask(&self, verb: Verb, path: &str, data: Value) -> (u16, Value) {
        let incoming = Incoming {
            id: "id".to_owned(),
            verb,
            path: path.to_owned(),
            data: data.as_object().cloned().unwrap_or_default(),
            token: self.token.clone(),
            is_bearer: false,
            wrap_ttl: None,
            headers: BTreeMap::new(),
            connection: Connection::default(),
        };
        let answer = self.front.handle(incoming).await;
        let body = match answer.body {
            OutgoingBody::Json(body) => body,
            OutgoingBody::Raw(_, bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            OutgoingBody::Empty | OutgoingBody::Messages(_) | OutgoingBody::Lines(_) => Value::Null,
        };
        (answer.status, body)
    }

    async fn read(&self, path: &str) -> (u16, Value) {
        self.ask(Verb::Read, path, Value::Null).await
    }

    async fn write(&self, path: &str, data: Value) -> (u16, Value) {
        self.ask(Verb::Write, path, data).await
    }

    /// The status and the first error of a write.
    async fn refusal(&self, path: &str, data: Value) -> (u16, String) {
        let (status, body) = self.write(path, data).await;
        (status, body["errors"][0].as_str().unwrap_or_default().to_owned())
    }

    /// Initialises, and keeps the root token. Gives the shares in hexadecimal.
    async fn initialize(&mut self, shares: u8, threshold: u8) -> Vec<String> {
        let counts = json!({"secret_shares": shares, "secret_threshold": threshold});
        let (status, body) = self.write("sys/init", counts).await;
        assert_eq!(status, 200, "{body}");
        self.token = body["root_token"].as_str().map(SecretString::from);
        texts(&body["keys"])
    }

    async fn unsealed(mut self) -> Self {
        let keys = self.initialize(1, 1).await;
        assert_eq!(self.write("sys/unseal", json!({"key": keys[0]})).await.0, 200);
        self
    }
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn from_an_empty_store_to_an_open_one() {
    let mut server = shamir().await;
    assert_eq!(server.read("sys/health").await.0, 501);
    assert_eq!(server.read("sys/init").await.1, json!({"initialized": false}));
    let sealed = server.read("kv/data/a").await;
    assert_eq!(sealed, (503, json!({"errors": ["Vault is sealed"]})));
    assert_eq!(
        server.refusal("sys/unseal", json!({"key": "00"})).await,
        (400, "Vault is not initialized".to_owned())
    );

    let keys = server.initialize(3, 2).await;
    assert_eq!(keys.len(), 3);
    assert_eq!(server.read("sys/health").await.0, 503);
    let again = json!({"secret_shares": 1, "secret_threshold": 1});
    let already = (400, "Vault is already initialized".to_owned());
    assert_eq!(server.refusal("sys/init", again).await, already);

    let (_, status) = server.write("sys/unseal", json!({"key": keys[0]})).await;
    assert_eq!((&status["sealed"], &status["progress"]), (&json!(true), &json!(1)));
    let (_, status) = server.write("sys/unseal", json!({"reset": true})).await;
    assert_eq!((&status["progress"], &status["nonce"]), (&json!(0), &json!("")));
    for key in &keys[..2] {
        assert_eq!(server.write("sys/unseal", json!({"key": key})).await.0, 200);
    }
    let (_, status) = server.read("sys/seal-status").await;
    assert_eq!(
        (&status["sealed"], &status["t"], &status["n"]),
        (&json!(false), &json!(2), &json!(3))
    );
    assert!(status["cluster_name"].as_str().is_some_and(|name| name.starts_with("vault-cluster-")));
    assert_eq!(server.read("sys/health").await.0, 200);
    assert_eq!(server.read("sys/mounts").await.0, 200);
}

#[tokio::test]
async fn refusals_are_worded_as_the_real_servers() {
    let mut server = shamir().await;
    for (data, want) in [
        (json!({}), "invalid seal configuration: shares must be at least one"),
        (
            json!({"secret_shares": 1, "secret_threshold": 2}),
            "invalid seal configuration: threshold cannot be larger than shares",
        ),
        (
            json!({"secret_shares": 1, "secret_threshold": 1, "recovery_shares": 1}),
            "parameters recovery_shares not applicable to seal type shamir",
        ),
        (
            json!({"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"]}),
            "pgp_keys: encrypting shares with PGP keys is not supported",
        ),
    ] {
        assert_eq!(
            server.refusal("sys/init", data.clone()).await,
            (400, want.to_owned()),
            "{data}"
        );
    }
    let keys = server.initialize(2, 2).await;
    let missing = "'key' must be specified in request body as JSON, or 'reset' set to true";
    let wrong = "unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: \
                 cipher: message authentication failed";
    for (data, want) in [
        (json!({}), missing),
        (json!({"key": ""}), missing),
        (json!({"key": null}), missing),
        (
            json!({"key": 5}),
            "failed to decode JSON input: json: cannot unmarshal number into Go struct field \
             UnsealRequest.key of type string",
        ),
        (json!({"key": "zz!"}), "'key' must be a valid hex or base64 string"),
        (json!({"key": "abcd"}), "invalid key: key is shorter than minimum 16 bytes"),
        (
            json!({"key": keys[0], "migrate": true}),
            "can't perform a seal migration, no migration seal found",
        ),
    ] {
        let got = server.refusal("sys/unseal", data.clone()).await;
        assert_eq!(got, (400, want.to_owned()), "{data}");
    }
    let mut bent = hex::decode(&keys[1]).unwrap();
    bent[3] ^= 1;
    server.write("sys/unseal", json!({"key": keys[0]})).await;
    let got = server.refusal("sys/unseal", json!({"key": hex::encode(bent)})).await;
    assert_eq!(got, (400, wrong.to_owned()));
    assert_eq!(server.read("sys/seal-status").await.1["progress"], 0, "it starts over");
    for (verb, path) in [
        (Verb::Delete, "sys/init"),
        (Verb::List, "sys/health"),
        (Verb::Read, "sys/unseal"),
        (Verb::Write, "sys/leader"),
    ] {
        assert_eq!(server.ask(verb, path, Value::Null).await.0, 405, "{path}");
    }
}

#[tokio::test]
async fn health_answers_with_the_codes_it_is_asked_for() {
    let mut server = shamir().await;
    for (query, want) in [
        (json!({"uninitcode": "299"}), 299),
        (json!({"sealedcode": "299"}), 501),
        (json!({"uninitcode": "abc"}), 400),
        (json!({"sealedcode": "99"}), 400),
        (json!({"standbyok": "x"}), 400),
        (json!({"standbyok": "true"}), 501),
    ] {
        assert_eq!(server.ask(Verb::Read, "sys/health", query.clone()).await.0, want, "{query}");
    }
    server.initialize(1, 1).await;
    let sealed = server.ask(Verb::Read, "sys/health", json!({"sealedcode": "234"})).await;
    assert_eq!((sealed.0, &sealed.1["standby"]), (234, &json!(true)));
    let server = shamir().await.unsealed().await;
    let active = server.ask(Verb::Read, "sys/health", json!({"activecode": "222"})).await;
    assert_eq!((active.0, &active.1["standby"]), (222, &json!(false)));
}

#[tokio::test]
async fn sealing_needs_a_right_and_ends_serving() {
    let mut server = shamir().await.unsealed().await;
    let root = server.token.take();
    assert_eq!(server.write("sys/seal", Value::Null).await.0, 403);
    assert_eq!(server.read("sys/health").await.0, 200);
    // Another path, which nobody may read without a token.
    for path in ["sys/health/", "sys/seal-status/", "sys/leader/", "sys/init/"] {
        assert_eq!(server.read(path).await.0, 403, "{path}");
    }
    server.token = root;
    assert_eq!(server.write("sys/seal", Value::Null).await.0, 204);
    assert_eq!(server.read("sys/health/").await.0, 503);
    assert_eq!(server.read("sys/health").await.0, 503);
    assert_eq!(server.read("sys/mounts").await.0, 503);
    assert_eq!(server.write("sys/seal", Value::Null).await.0, 204, "sealed is sealed");
}

#[tokio::test]
async fn a_static_seal_opens_at_start_unless_an_operator_closed_it() {
    let server = open(Arc::new(InMemory::new()), true, &[]).await;
    let shares = json!({"secret_shares": 1, "secret_threshold": 1});
    let not_applicable =
        "parameters secret_shares,secret_threshold not applicable to seal type static";
    assert_eq!(server.refusal("sys/init", shares).await, (400, not_applicable.to_owned()));
    let (status, body) = server.write("sys/init", json!({})).await;
    assert_eq!((status, &body["keys"]), (200, &json!([])));
    assert_eq!(server.read("sys/health").await.0, 200, "it opens by itself");

    let server = open(server.physical, true, &[]).await;
    server.front.lifecycle.start(&[]).await.unwrap();
    assert_eq!(server.read("sys/health").await.0, 200, "also after a restart");

    let token = body["root_token"].as_str().map(SecretString::from);
    let server = Server { token, ..server };
    assert_eq!(server.write("sys/seal", Value::Null).await.0, 204);
    let server = open(server.physical, true, &[]).await;
    server.front.lifecycle.start(&[]).await.unwrap();
    assert_eq!(server.read("sys/health").await.0, 503, "a seal outlives a restart");
    let wrong = json!({"key": hex::encode([8; 32])});
    assert_eq!(server.write("sys/unseal", wrong).await.0, 400);
    let right = json!({"key": hex::encode(SEAL_KEY)});
    assert_eq!(server.write("sys/unseal", right).await.0, 200);
    assert_eq!(server.read("sys/health").await.0, 200);
    let server = open(server.physical, true, &[]).await;
    server.front.lifecycle.start(&[]).await.unwrap();
    assert_eq!(server.read("sys/health").await.0, 200, "and is undone for good");
}

fn init_request(name: &str, path: &str, data: &Value) -> InitRequest {
    InitRequest {
        name: name.to_owned(),
        verb: Verb::Write,
        path: path.to_owned(),
        token: None,
        data: data.as_object().cloned().unwrap_or_default(),
        allow_failure: false,
    }
}

#[tokio::test]
async fn a_new_store_initialises_itself_whole_or_not_at_all() {
    let requests = [
        init_request("a.kv", "sys/mounts/kv", &json!({"type": "kv", "options": {"version": "1"}})),
        init_request("a.secret", "kv/a", &json!({"x": "1"})),
        init_request("a.approle", "sys/auth/approle", &json!({"type": "approle"})),
        init_request(
            "a.role",
            "auth/approle/role/r",
            &json!({"bind_secret_id": false,
            "token_bound_cidrs": "", "secret_id_bound_cidrs": "127.0.0.1/32"}),
        ),
    ];
    let mut failing = requests.to_vec();
    failing.push(init_request("a.wrong", "sys/mounts/x", &json!({"type": "frob"})));
    let server = open(Arc::new(InMemory::new()), true, &[]).await;
    let error = server.front.lifecycle.start(&failing).await.unwrap_err().to_string();
    assert!(error.starts_with("initialize request a.wrong (sys/mounts/x) was answered"), "{error}");
    assert_eq!(server.physical.scan("").await.unwrap(), [""; 0], "nothing was written");

    if let Some(last) = failing.last_mut() {
        last.allow_failure = true;
    }
    server.front.lifecycle.start(&failing).await.unwrap();
    assert_eq!(server.read("sys/health").await.0, 200);
    let key_set = server.physical.scan("logical/").await.unwrap();
    assert!(!key_set.is_empty(), "the store holds the secret");
    let accessors = server.physical.scan("sys/token/accessor/").await.unwrap();
    assert_eq!(accessors, [""; 0], "the root token is gone");
    server.front.lifecycle.start(&failing).await.unwrap();
    let server = open(server.physical, true, &[]).await;
    server.front.lifecycle.start(&failing).await.unwrap();
    assert_eq!(server.read("sys/health").await.0, 200, "a second start changes nothing");
}

#[tokio::test]
async fn audit_devices_are_managed_and_nothing_is_served_when_none_can_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log").to_str().unwrap().to_owned();
    let server = shamir().await.unsealed().await;
    let device = json!({"type": "file", "options": {"file_path": file}});
    assert_eq!(server.write("sys/audit/main", device.clone()).await.0, 204);
    assert_eq!(
        server.refusal("sys/audit/main", device).await,
        (400, "path already in use".to_owned())
    );
    let (_, list) = server.read("sys/audit").await;
    assert_eq!(list["main/"]["options"]["file_path"], file.as_str());
    assert_eq!(list["data"]["main/"], list["main/"]);
    let (_, hash) = server.write("sys/audit-hash/main", json!({"input": "x"})).await;
    assert!(hash["data"]["hash"].as_str().is_some_and(|hash| hash.starts_with("hmac-sha256:")));

    assert_eq!(server.read("sys/mounts").await.0, 200);
    let log = std::fs::read_to_string(&file).unwrap();
    let token = server.token.as_ref().unwrap().expose();
    assert!(log.contains("\"path\":\"sys/mounts\"") && !log.contains(token.as_str()));

    // `/dev/full` takes the place of a disk without room.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    server.front.lifecycle.audit().reopen();
    let (status, body) = server.read("sys/mounts").await;
    assert_eq!(status, 500, "{body}");
    assert!(body.get("data").is_none());
    std::fs::remove_file(&file).unwrap();
    server.front.lifecycle.audit().reopen();
    assert_eq!(server.read("sys/mounts").await.0, 200);
    assert_eq!(server.ask(Verb::Delete, "sys/audit/main", Value::Null).await.0, 204);
    assert_eq!(server.read("sys/audit").await.1["data"], json!({}));
}

#[tokio::test]
async fn keys_rotate_and_shares_are_replaced_by_a_quorum() {
    let mut server = shamir().await;
    let old = server.initialize(2, 2).await;
    for key in &old {
        server.write("sys/unseal", json!({"key": key})).await;
    }
    assert_eq!(server.read("sys/key-status").await.1["data"]["term"], 1);
    assert_eq!(server.write("sys/rotate", Value::Null).await.0, 204);
    assert_eq!(server.read("sys/key-status").await.1["term"], 2);

    let plan = json!({"secret_shares": 1, "secret_threshold": 1});
    let (_, body) = server.write("sys/rotate/root/init", plan.clone()).await;
    let nonce = body["data"]["nonce"].as_str().unwrap().to_owned();
    assert_eq!((&body["data"]["required"], &body["data"]["t"]), (&json!(2), &json!(1)));
    assert_eq!(
        server.refusal("sys/rotate/root/init", plan).await,
        (400, "rotation already in progress".to_owned())
    );
    let share = |key: &str, nonce: &str| json!({"key": key, "nonce": nonce});
    let (status, words) = server.refusal("sys/rotate/root/update", share(&old[0], "x")).await;
    assert!(status == 400 && words.starts_with("incorrect nonce supplied"), "{words}");
    let (_, body) = server.write("sys/rotate/root/update", share(&old[0], &nonce)).await;
    assert_eq!(body["data"]["progress"], 1);
    let (_, words) = server.refusal("sys/rotate/root/update", share(&old[0], &nonce)).await;
    assert_eq!(words, "given key has already been provided during rotation");
    let (_, body) = server.write("sys/rotate/root/update", share(&old[1], &nonce)).await;
    assert_eq!(body["data"]["complete"], true, "{body}");
    let new = texts(&body["data"]["keys"]);

    assert_eq!(server.write("sys/seal", Value::Null).await.0, 204);
    assert_eq!(server.write("sys/unseal", json!({"key": old[0]})).await.0, 400);
    assert_eq!(server.write("sys/unseal", json!({"key": new[0]})).await.0, 200);
    assert_eq!(server.read("sys/health").await.0, 200);
    let closed = server.write("sys/rekey/init", Value::Null).await;
    assert_eq!(closed, (405, json!({"errors": ["unsupported operation"]})));
}

#[tokio::test]
async fn new_shares_that_have_to_be_shown_first_are_not_in_use_before() {
    let mut server = shamir().await;
    let old = server.initialize(1, 1).await;
    server.write("sys/unseal", json!({"key": old[0]})).await;
    let root = "sys/rotate/root";
    let nothing = (400, "no rotation configuration found".to_owned());
    let verify = format!("{root}/verify");
    assert_eq!(server.refusal(&verify, json!({"key": "00", "nonce": "x"})).await, nothing);

    let plan = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    let (_, body) = server.write(&format!("{root}/init"), plan).await;
    let wants = (&body["data"]["verification_required"], &body["data"]["verification_nonce"]);
    assert_eq!(wants, (&json!(true), &json!("")));
    assert_eq!(server.read(&verify).await.1["data"]["started"], false);
    let share = |key: &str, nonce: &Value| json!({"key": key, "nonce": nonce});
    let old_share = share(&old[0], &body["data"]["nonce"]);
    let (_, body) = server.write(&format!("{root}/update"), old_share.clone()).await;
    assert_eq!(body["data"]["complete"], true, "{body}");
    let new = texts(&body["data"]["keys"]);
    let nonce = &body["data"]["verification_nonce"];
    let (_, words) = server.refusal(&format!("{root}/update"), old_share).await;
    assert!(words.starts_with("rotation already finished; verification must be"), "{words}");

    // A quorum of something else, and all begins anew under another nonce.
    assert_eq!(server.write(&verify, share(&new[0], nonce)).await.1["data"]["progress"], 1);
    assert_eq!(
        server.refusal(&verify, share(&old[0], nonce)).await,
        (400, "rotation verification failed; incorrect key shares supplied".to_owned())
    );
    let (_, status) = server.read(&verify).await;
    assert_ne!(&status["data"]["nonce"], nonce);
    assert_eq!(status["data"]["progress"], 0);
    assert_eq!(server.read("sys/seal-status").await.1["n"], 1, "the old shares are in use");

    let nonce = &status["data"]["nonce"];
    server.write(&verify, share(&new[2], nonce)).await;
    let (_, body) = server.write(&verify, share(&new[0], nonce)).await;
    assert_eq!(body["data"], json!({"complete": true, "nonce": nonce}));
    assert_eq!(server.refusal(&verify, share(&new[0], nonce)).await, nothing);
    assert_eq!(server.read("sys/seal-status").await.1["n"], 3);
    let (status, words) = server.refusal(root, Value::Null).await;
    assert!(status == 400 && words.starts_with("the root key of a Shamir seal"), "{words}");
}

#[tokio::test]
async fn a_seal_ends_a_rotation_and_forgets_its_new_shares() {
    let mut server = shamir().await;
    let old = server.initialize(1, 1).await;
    let unseal = json!({"key": old[0]});
    server.write("sys/unseal", unseal.clone()).await;
    let root = "sys/rotate/root";
    let plan = json!({"secret_shares": 3, "secret_threshold": 2, "require_verification": true});
    let (_, body) = server.write(&format!("{root}/init"), plan.clone()).await;
    let share = json!({"key": old[0], "nonce": body["data"]["nonce"]});
    let (_, body) = server.write(&format!("{root}/update"), share).await;
    let new = texts(&body["data"]["keys"]);
    let shown = json!({"key": new[0], "nonce": body["data"]["verification_nonce"]});

    assert_eq!(server.write("sys/seal", Value::Null).await.0, 204);
    assert_eq!(server.write("sys/unseal", unseal).await.1["sealed"], false);
    let nothing = (400, "no rotation configuration found".to_owned());
    assert_eq!(server.refusal(&format!("{root}/verify"), shown).await, nothing);
    assert_eq!(server.read(&format!("{root}/init")).await.1["data"]["started"], false);
    assert_eq!(server.read("sys/seal-status").await.1["n"], 1, "the old share is in use");
    // And nothing is in the way of another one.
    assert_eq!(server.write(&format!("{root}/init"), plan).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn keys_that_rotate_by_themselves_take_the_batch_tokens_key_along() {
    let clock = Arc::new(FakeClock::at(1_800_000_000));
    let memory = Arc::new(InMemory::new());
    let server = open_at(memory, false, &[], clock.clone()).await.unsealed().await;
    server.write("sys/rotate/config", json!({"interval": "24h"})).await;
    let make = async || {
        let asked = json!({"type": "batch", "policies": ["default"], "ttl": "100h"});
        let (_, body) = server.write("auth/token/create", asked).await;
        body["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let first = make().await;
    clock.advance(Duration::from_secs(25 * 3600));
    // The server looks once a minute.
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(server.read("sys/key-status").await.1["data"]["term"], 2);
    let second = make().await;
    // The key's number stands in clear: `b.` and base64 of the version and the number.
    assert_ne!(first[..9], second[..9]);
    for token in [first, second] {
        let (status, body) = server.write("auth/token/lookup", json!({ "token": token })).await;
        assert_eq!(status, 200, "{body}");
    }
}

#[tokio::test]
async fn a_quorum_makes_a_root_token_under_a_one_time_pad() {
    let mut server = shamir().await;
    let keys = server.initialize(1, 1).await;
    server.write("sys/unseal", json!({"key": keys[0]})).await;
    let path = "sys/generate-root-token";
    let (_, words) = server.refusal(&format!("{path}/attempt"), json!({"otp": "short"})).await;
    assert_eq!(words, "OTP string has incorrect length");
    let (_, body) = server.write(&format!("{path}/attempt"), Value::Null).await;
    let data = &body["data"];
    let (nonce, otp) = (data["nonce"].as_str().unwrap(), data["otp"].as_str().unwrap());
    assert_eq!(server.read(&format!("{path}/attempt")).await.1["data"]["otp"], "");
    let share = json!({"key": keys[0], "nonce": nonce});
    let (_, body) = server.write(&format!("{path}/update"), share).await;
    let encoded = body["data"]["encoded_token"].as_str().unwrap();
    let padded = STANDARD_NO_PAD.decode(encoded).unwrap();
    let token: Vec<u8> = padded.iter().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
    server.token = Some(SecretString::new(String::from_utf8(token).unwrap()));
    let (status, body) = server.read("auth/token/lookup-self").await;
    assert_eq!((status, &body["data"]["policies"]), (200, &json!(["root"])));
}

#[tokio::test]
async fn a_static_seal_gets_its_first_recovery_shares_from_whoever_may() {
    let mut server = open(Arc::new(InMemory::new()), true, &[]).await;
    let (_, body) = server.write("sys/init", json!({})).await;
    server.token = body["root_token"].as_str().map(SecretString::from);
    let (_, words) = server.refusal("sys/generate-root-token/attempt", json!({})).await;
    assert!(words.starts_with("there are no recovery shares yet"), "{words}");
    let plan = json!({"secret_shares": 2, "secret_threshold": 2});
    let (status, body) = server.write("sys/rotate/recovery/init", plan).await;
    assert_eq!((status, &body["data"]["complete"]), (200, &json!(true)), "{body}");
    assert_eq!(texts(&body["data"]["keys"]).len(), 2);
    let (_, status) = server.read("sys/seal-status").await;
    assert_eq!((&status["t"], &status["n"]), (&json!(2), &json!(2)));
    assert_eq!(server.write("sys/rotate/root", Value::Null).await.0, 204);
    let again = open(server.physical.clone(), true, &[]).await;
    again.front.lifecycle.start(&[]).await.unwrap();
    assert_eq!(again.read("sys/health").await.0, 200, "it opens by itself");
}
