use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_barrier::{MemoryEntries, View};
use holdfast_types::SystemRandom;
use serde_json::{Map, Value, json};

use crate::audit::{Audit, DeviceSpec};
use crate::testing::Server;
use crate::wire::Verb::{Delete, List, Read, Write};

#[tokio::test]
async fn answers_have_openbaos_shapes() {
    let server = Server::new().await;
    let root = server.root.clone();
    let none = json!({});
    for (verb, path, data, status, body) in [
        (
            Read,
            "nope/x",
            none.clone(),
            404,
            json!({
                "errors": ["no handler for route \"nope/x\". route entry not found."]
            }),
        ),
        (
            Read,
            "fake/nope",
            none.clone(),
            404,
            json!({
                "errors": ["1 error occurred:\n\t* unsupported path\n\n"]
            }),
        ),
        (
            Read,
            "fake/fail",
            none.clone(),
            500,
            json!({
                "errors": ["1 error occurred:\n\t* internal error\n\n"]
            }),
        ),
        (Read, "fake/store/a", none.clone(), 404, json!({ "errors": [] })),
        (List, "auth/token/roles", none.clone(), 404, json!({ "errors": [] })),
        (
            Write,
            "fake/store/",
            none.clone(),
            400,
            json!({
                "errors": ["cannot write to a path ending in '/'"]
            }),
        ),
        (
            Read,
            "fake/../x",
            none.clone(),
            400,
            json!({
                "errors": ["relative paths not supported"]
            }),
        ),
        (Write, "auth/token/roles/r", none.clone(), 204, Value::Null),
        (Delete, "auth/token/roles/r", none.clone(), 204, Value::Null),
        (
            Write,
            "fake/store/a",
            json!({ "x": 1 }),
            200,
            json!({
                "request_id": "request", "lease_id": "", "renewable": false, "lease_duration": 0,
                "data": { "operation": "create" }, "wrap_info": null, "warnings": null, "auth": null
            }),
        ),
        (
            Write,
            "sys/capabilities-self",
            json!({ "path": "a" }),
            200,
            json!({
                "a": ["root"], "capabilities": ["root"],
                "request_id": "request", "lease_id": "", "renewable": false, "lease_duration": 0,
                "data": { "a": ["root"], "capabilities": ["root"] },
                "wrap_info": null, "warnings": null, "auth": null
            }),
        ),
    ] {
        let got = server.call(&root, verb, path, data).await;
        assert_eq!(got, (status, body), "{path}");
    }
}

#[tokio::test]
async fn a_token_is_needed_and_must_be_valid() {
    let server = Server::new().await;
    let plain = json!({ "errors": ["permission denied"] });
    let denied = json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n"] });
    let limited = server.token(json!({ "policies": ["default"] })).await;
    for (token, path, want) in [
        ("", "fake/store/a", &plain),
        ("s.nope", "fake/store/a", &plain),
        ("b.nope", "fake/store/a", &plain),
        ("", "nope/x", &plain),
        ("s.nope", "nope/x", &plain),
        (limited.as_str(), "fake/store/a", &denied),
        (limited.as_str(), "nope/x", &denied),
        (limited.as_str(), "sys/nope", &denied),
    ] {
        let got = server.call(token, Read, path, json!({})).await;
        assert_eq!(got, (403, want.clone()), "{token} {path}");
    }
    let (status, body) =
        server.call("", Write, "auth/fake/login", json!({ "policies": "a" })).await;
    assert_eq!((status, &body["auth"]["policies"]), (200, &json!(["a", "default"])));
    assert_eq!(body["auth"]["orphan"], json!(true));
}

#[tokio::test]
async fn a_write_creates_or_updates_and_only_who_may_do_one_of_them_finds_out_which() {
    let server = Server::new().await;
    for name in ["create", "update", "read"] {
        let text = format!("path \"fake/store/*\" {{ capabilities = [\"{name}\"] }}");
        server.policy(name, &text).await;
    }
    let creator = server.token(json!({ "policies": ["create"] })).await;
    let updater = server.token(json!({ "policies": ["update"] })).await;
    let reader = server.token(json!({ "policies": ["read"] })).await;
    for (token, status) in
        [(&updater, 403), (&creator, 200), (&creator, 403), (&updater, 200), (&reader, 403)]
    {
        let got = server.call(token, Write, "fake/store/a", json!({ "x": 1 })).await;
        assert_eq!(got.0, status);
    }
    // A denial says nothing of the target, not even by asking for it.
    assert_eq!(server.fake.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_sudo_path_needs_sudo() {
    let server = Server::new().await;
    server.policy("plain", "path \"fake/store/*\" { capabilities = [\"create\"] }").await;
    server.policy("sudo", "path \"fake/store/*\" { capabilities = [\"create\", \"sudo\"] }").await;
    for (policy, status) in [("plain", 403), ("sudo", 200)] {
        let token = server.token(json!({ "policies": [policy] })).await;
        let got = server.call(&token, Write, "fake/store/sudo", json!({ "x": 1 })).await;
        assert_eq!(got.0, status, "{policy}");
    }
}

#[tokio::test]
async fn a_changed_policy_holds_at_once() {
    let server = Server::new().await;
    server.policy("p", "path \"fake/store/*\" { capabilities = [\"create\", \"read\"] }").await;
    let token = server.token(json!({ "policies": ["p"] })).await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 200);
    server.policy("p", "path \"fake/store/*\" { capabilities = [\"deny\"] }").await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 403);
    server.ok(Delete, "sys/policies/acl/p", json!({})).await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 403);
}

#[tokio::test]
async fn templates_follow_the_entity_of_the_login() {
    let server = Server::new().await;
    let text = "path \"fake/store/{{identity.entity.id}}\" { capabilities = [\"create\"] }";
    server.policy("own", text).await;
    let login = json!({ "policies": "own", "name": "alice" });
    let (_, first) = server.call("", Write, "auth/fake/login", login.clone()).await;
    let (_, second) = server.call("", Write, "auth/fake/login", login).await;
    let entity = first["auth"]["entity_id"].as_str().unwrap();
    assert_eq!(first["auth"]["entity_id"], second["auth"]["entity_id"]);
    let token = second["auth"]["client_token"].as_str().unwrap();
    for (path, status) in [(format!("fake/store/{entity}"), 200), ("fake/store/x".into(), 403)] {
        let got = server.call(token, Write, &path, json!({ "x": 1 })).await;
        assert_eq!(got.0, status, "{path}");
    }
    // The name of an entity is the login method's, and may be anything.
    for name in ["../x", "a/b", "+", "*", "", "é\u{0}"] {
        let login = json!({ "policies": "own", "name": name });
        let got = server.call("", Write, "auth/fake/login", login).await;
        assert_eq!(got.0, 200, "{name:?}");
    }
}

#[tokio::test]
async fn tokens_of_the_same_policies_and_entity_share_one_table() {
    let server = Server::new().await;
    let text = "path \"fake/store/{{identity.entity.id}}\" { capabilities = [\"read\"] }";
    server.policy("own", text).await;
    server.policy("other", "path \"fake/store/*\" { capabilities = [\"read\"] }").await;
    let table_of = async |policies: &str, name: &str| {
        let login = json!({ "policies": policies, "name": name });
        let (_, answer) = server.call("", Write, "auth/fake/login", login).await;
        let vault = server.core.vault();
        let token = answer["auth"]["client_token"].as_str().unwrap();
        let token = vault.tokens.lookup(token).await.unwrap().unwrap();
        super::acl::acl_of(&vault, &token).await.unwrap()
    };
    let first = table_of("own", "alice").await;
    assert!(Arc::ptr_eq(&first, &table_of("own", "alice").await));
    for (policies, name) in [("own", "bob"), ("other", "alice")] {
        assert!(!Arc::ptr_eq(&first, &table_of(policies, name).await), "{policies} {name}");
    }
    server.policy("other", "path \"x\" { capabilities = [\"deny\"] }").await;
    assert!(!Arc::ptr_eq(&first, &table_of("own", "alice").await), "compiled anew after a change");
}

#[tokio::test]
async fn a_wrapped_answer_is_given_out_once() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    let root = server.root.clone();
    let (status, wrapped) = server.send(&root, Read, "fake/store/a", json!({}), Some(60)).await;
    assert_eq!((status, &wrapped["data"]), (200, &Value::Null));
    assert_eq!(wrapped["wrap_info"]["creation_path"], json!("fake/store/a"));
    let token = wrapped["wrap_info"]["token"].as_str().unwrap();

    let looked_up = server.call("", Write, "sys/wrapping/lookup", json!({ "token": token })).await;
    assert_eq!(looked_up.1["data"]["creation_ttl"], json!(60));

    let unwrap = || server.call(token, Write, "sys/wrapping/unwrap", json!({}));
    let answers = futures_util::future::join_all((0..20).map(|_| unwrap())).await;
    let given: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(given.len(), 1, "{answers:?}");
    assert_eq!(given[0].1["data"], json!({ "x": 1 }));
    assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 400 | 403)), "{answers:?}");
    assert_eq!(server.keys("sys/wrap/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wrapped_answer_ends_with_its_time_and_survives_a_crash_before() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    let root = server.root.clone();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (_, wrapped) = server.send(&root, Read, "fake/store/a", json!({}), Some(60)).await;
        tokens.push(wrapped["wrap_info"]["token"].as_str().unwrap().to_owned());
    }
    let server = server.crash().await;
    let unwrap = json!({ "token": tokens[0] });
    let got = server.call(&root, Write, "sys/wrapping/unwrap", unwrap).await;
    assert_eq!(got.1["data"], json!({ "x": 1 }));
    server.clock.advance(Duration::from_secs(61));
    let unwrap = json!({ "token": tokens[1] });
    let got = server.call(&root, Write, "sys/wrapping/unwrap", unwrap).await;
    let words = "wrapping token is not valid or does not exist";
    assert_eq!(got, (400, json!({ "errors": [words] })));
    server.reap().await;
    assert_eq!(server.keys("sys/wrap/").await, Vec::<String>::new());
}

/// An audit log to a file, and what makes that file a full disk.
async fn audited() -> (tempfile::TempDir, Arc<Audit>, impl Fn() + Send + Sync + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let spec = DeviceSpec {
        path: "file/".into(),
        kind: "file".into(),
        description: String::new(),
        options: [("file_path".to_owned(), log.to_str().unwrap().to_owned())].into(),
    };
    let audit = Arc::new(Audit::default());
    let store = View::new(Arc::new(MemoryEntries::default()), "audit/");
    audit.load(store, &[spec], &SystemRandom).await.unwrap();
    let fill = {
        let audit = audit.clone();
        move || {
            std::fs::remove_file(&log).unwrap();
            std::os::unix::fs::symlink("/dev/full", &log).unwrap();
            audit.reopen();
        }
    };
    (folder, audit, fill)
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_served() {
    let (_folder, audit, fill) = audited().await;
    let server = Server::with(Arc::new(MemoryEntries::default()), audit).await;
    let root = server.root.clone();
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    fill();
    for (token, verb, path, data) in [
        (root.as_str(), Read, "fake/store/a", json!({})),
        (root.as_str(), Write, "fake/store/b", json!({ "x": 1 })),
        ("", Write, "auth/fake/login", json!({ "policies": "a" })),
        ("", Read, "fake/store/a", json!({})),
    ] {
        let got = server.call(token, verb, path, data).await;
        assert_eq!(got.0, 500, "{path} {got:?}");
    }
    assert!(server.entries.scan("logical/").await.unwrap().iter().all(|key| !key.ends_with("/b")));
}

#[tokio::test]
async fn what_an_answer_carries_is_taken_back_when_it_cannot_be_written_down() {
    let (_folder, audit, fill) = audited().await;
    let server = Server::with(Arc::new(MemoryEntries::default()), audit).await;
    let fill = std::sync::Mutex::new(Some(fill));
    *server.fake.on_made.lock().unwrap() = Some(Box::new(move || {
        if let Some(fill) = fill.lock().unwrap().take() {
            fill();
        }
    }));
    let root = server.root.clone();
    let got = server.call(&root, Read, "fake/creds", json!({})).await;
    assert_eq!(got.0, 500, "{got:?}");
    server.until("the thing is gone", |server| server.fake.count() == 0).await;
    assert_eq!(server.fake.revocations.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn sealed_it_serves_nothing_and_unsealed_again_all() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    server.core.pre_seal().await;
    let root = server.root.clone();
    let sealed = (503, json!({ "errors": ["Vault is sealed"] }));
    assert_eq!(server.call(&root, Read, "fake/store/a", json!({})).await, sealed);
    server.core.post_unseal().await.unwrap();
    assert_eq!(server.ok(Read, "fake/store/a", json!({})).await["data"], json!({ "x": 1 }));
}

#[tokio::test]
async fn a_disabled_mount_takes_its_leases_tokens_and_storage_along() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    server.ok(Read, "fake/creds", json!({})).await;
    let (_, login) = server.call("", Write, "auth/fake/login", json!({})).await;
    let token = login["auth"]["client_token"].as_str().unwrap();
    let stored = server.keys("logical/").await.len();
    server.ok(Delete, "sys/mounts/fake", json!({})).await;
    server.ok(Delete, "sys/auth/fake", json!({})).await;
    assert_eq!(server.fake.count(), 0);
    assert!(!server.is_live(token).await);
    assert_eq!(server.keys("logical/").await.len(), stored - 1);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_mount_whose_leases_cannot_be_revoked_serves_nothing_until_they_are() {
    let server = Server::new().await;
    server.ok(Read, "fake/creds", json!({})).await;
    server.fake.broken.store(true, Ordering::SeqCst);
    let root = server.root.clone();
    let got = server.call(&root, Delete, "sys/mounts/fake", json!({})).await;
    assert_eq!(got.0, 400, "{got:?}");
    assert_eq!(server.call(&root, Read, "fake/store/a", json!({})).await.0, 404);
    let server = server.crash().await;
    assert_eq!(server.call(&root, Read, "fake/store/a", json!({})).await.0, 404);
    server.fake.broken.store(false, Ordering::SeqCst);
    server.ok(Delete, "sys/mounts/fake", json!({})).await;
    assert_eq!(server.fake.count(), 0);
    server.ok(Write, "sys/mounts/fake", json!({ "type": "fake" })).await;
}

#[tokio::test]
async fn tuning_a_kv_mount_to_version_2_keeps_its_secrets() {
    let server = Server::new().await;
    server.ok(Write, "sys/mounts/kv", json!({ "type": "kv" })).await;
    server.ok(Write, "kv/app/db", json!({ "x": "1" })).await;
    let body =
        server.ok(Write, "sys/mounts/kv/tune", json!({ "options": { "version": "2" } })).await;
    assert!(body["warnings"][0].as_str().unwrap().starts_with("Upgrading mount"), "{body}");
    let body = server.ok(Read, "kv/data/app/db", json!({})).await;
    assert_eq!(body["data"]["data"], json!({ "x": "1" }));
    assert_eq!(body["data"]["metadata"]["version"], json!(1));
    let server = server.crash().await;
    server.ok(Read, "kv/data/app/db", json!({})).await;
    let root = server.root.clone();
    let back = json!({ "options": { "version": "1" } });
    let got = server.call(&root, Write, "sys/mounts/kv/tune", back).await;
    assert_eq!(got, (400, json!({ "errors": ["cannot downgrade mount from version 2"] })));
}

#[tokio::test]
async fn a_policy_ends_with_its_time() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    let text = "path \"fake/store/*\" { capabilities = [\"read\"] }";
    server.ok(Write, "sys/policies/acl/brief", json!({ "policy": text, "ttl": "60s" })).await;
    let token = server.token(json!({ "policies": ["brief"] })).await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 200);
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 403);
}

#[tokio::test]
async fn a_policy_that_was_damaged_denies_everything() {
    let server = Server::new().await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    for name in ["good", "bad"] {
        server.policy(name, "path \"fake/store/*\" { capabilities = [\"read\"] }").await;
    }
    let token = server.token(json!({ "policies": ["good", "bad"] })).await;
    let view = View::new(server.entries.clone(), "sys/policy/");
    let mut record: Value = view.get_json("bad").await.unwrap().unwrap();
    record["text"] = json!("path {");
    view.put_json("bad", &record).await.unwrap();
    let server = server.crash().await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 403);
    server.policy("bad", "path \"x\" {}").await;
    assert_eq!(server.call(&token, Read, "fake/store/a", json!({})).await.0, 200);
}

#[tokio::test]
async fn what_policies_deny_has_no_second_name() {
    let server = Server::new().await;
    server.policy("prod", "path \"x\" { capabilities = [\"read\"] }").await;
    server.ok(Write, "auth/token/roles/prod", json!({ "orphan": true })).await;
    let rules = [
        ("sys/policies/acl/*", "read\", \"update\", \"delete"),
        ("sys/policies/acl/prod", "deny"),
        ("sys/policy/*", "read\", \"update\", \"delete"),
        ("sys/policy/prod", "deny"),
        ("auth/token/roles/*", "read\", \"update\", \"delete"),
        ("auth/token/roles/prod", "deny"),
        ("sys/leases/*", "read"),
        ("sys/leases", "read"),
        ("sys/mounts/*", "read\", \"update\", \"delete"),
        ("sys/mounts/fake", "deny"),
        ("sys/capabilities-self", "update"),
    ];
    let rules =
        rules.map(|(path, can)| format!("path \"{path}\" {{ capabilities = [\"{can}\"] }}"));
    server.policy("most", &rules.join("\n")).await;
    let token = server.token(json!({ "policies": ["most"], "no_default_policy": true })).await;
    let irrevocable = json!({ "type": "irrevocable" });
    for (path, status) in [
        ("sys/policies/acl/prod", 403),
        ("sys/policies/acl/PROD", 403),
        ("sys/policies/acl/prod/", 403),
        ("sys/policies/acl/prod ", 403),
        ("sys/policies/acl/ Prod /", 403),
        ("sys/policies/acl/ ", 405),
        ("sys/policies/acl/Most", 200),
        ("sys/policies/acl/most ", 200),
        ("sys/policy/Prod", 403),
        ("sys/policy/prod/", 403),
        ("auth/token/roles/prod", 403),
        ("auth/token/roles/prod/", 404),
        ("sys/mounts/fake", 403),
        ("sys/mounts/fake/", 403),
        // Needs sudo as well.
        ("sys/leases", 403),
        ("sys/leases/", 404),
    ] {
        let got = server.call(&token, Read, path, irrevocable.clone()).await;
        assert_eq!(got.0, status, "{path}: {}", got.1);
    }
    let policy = json!({ "policy": "path \"*\" { capabilities = [\"sudo\"] }" });
    assert_eq!(server.call(&token, Write, "sys/policies/acl/PROD", policy).await.0, 403);
    for path in ["sys/policies/acl/PROD", "sys/policies/acl/prod/", "sys/policy/prod/"] {
        assert_eq!(server.call(&token, Delete, path, json!({})).await.0, 403, "{path}");
    }
    assert_eq!(server.call(&token, Delete, "auth/token/roles/prod/", json!({})).await.0, 404);
    assert_eq!(server.call(&token, Delete, "sys/mounts/fake/", json!({})).await.0, 403);
    let paths = json!({ "paths": ["sys/policies/acl/PROD"] });
    let said = server.call(&token, Write, "sys/capabilities-self", paths).await;
    assert_eq!(said.1["capabilities"], json!(["deny"]), "{}", said.1);
}

#[tokio::test]
async fn where_no_token_is_needed_refusals_stand_bare() {
    let server = Server::new().await;
    for token in ["", &server.root] {
        for (verb, path, status, words) in [
            (Write, "sys/internal/ui/mounts", 405, "unsupported operation"),
            (Delete, "sys/internal/ui/mounts/kv", 405, "unsupported operation"),
        ] {
            let got = server.call(token, verb, path, json!({})).await;
            assert_eq!(got, (status, json!({ "errors": [words] })), "{path}");
        }
    }
}

#[tokio::test]
async fn a_wrapping_token_may_come_in_a_jwt() {
    let server = Server::new().await;
    let wrapped = || async {
        let data = json!({ "a": "b" }).as_object().cloned().unwrap();
        let incoming = server.incoming(&server.root, Write, "sys/wrapping/wrap", data);
        let headers = [("x-vault-wrap-format".to_owned(), "jwt".to_owned())].into();
        let wrap_ttl = Some(Duration::from_secs(60));
        let incoming = crate::wire::Incoming { headers, wrap_ttl, ..incoming };
        match server.core.handle(incoming).await.body {
            crate::wire::OutgoingBody::Json(body) => {
                body["wrap_info"]["token"].as_str().unwrap().to_owned()
            }
            _ => panic!("no body"),
        }
    };
    let root = server.root.clone();
    let in_body = |token: &str| json!({ "token": token });
    let (first, second) = (wrapped().await, wrapped().await);
    assert_eq!(first.matches('.').count(), 2);
    // Within the signature, so that its last letter's spare bits are left alone.
    let at = first.len() - 40;
    let other = if &first[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &first[..at], &first[at + 1..]);
    let got = server.call(&root, Write, "sys/wrapping/unwrap", in_body(&forged)).await;
    assert_eq!(got.0, 403, "{}", got.1);
    let got = server.call(&root, Write, "sys/wrapping/lookup", in_body(&first)).await;
    assert_eq!((got.0, &got.1["data"]["creation_ttl"]), (200, &json!(60)));
    let got = server.call(&root, Write, "sys/wrapping/unwrap", in_body(&first)).await;
    assert_eq!((got.0, &got.1["data"]), (200, &json!({ "a": "b" })));
    let got = server.call(&root, Write, "sys/wrapping/unwrap", in_body(&first)).await;
    assert_eq!(got.0, 400, "{}", got.1);
    // What is wrapped may look like one.
    let foreign = "eyJhbGciOiJFUzUxMiJ9.e30.AAAA";
    let got = server.send(&root, Write, "sys/wrapping/wrap", in_body(foreign), Some(60)).await;
    assert_eq!(got.0, 200, "{}", got.1);
    // As the request's own token; and it is good for nothing else.
    let got = server.call(&second, Read, "auth/token/lookup-self", json!({})).await;
    assert_eq!(got.0, 403, "{}", got.1);
    let server = server.crash().await;
    let got = server.call(&second, Write, "sys/wrapping/unwrap", json!({})).await;
    assert_eq!((got.0, &got.1["data"]), (200, &json!({ "a": "b" })));
}

/// OpenBao answers 500 to whoever comes by a Unix socket while there is a limit.
#[tokio::test]
async fn a_client_without_an_address_is_limited_too() {
    let server = Server::new().await;
    let limit = json!({ "rate": 2, "interval": "1h", "path": "fake/" });
    server.ok(Write, "sys/quotas/rate-limit/few", limit).await;
    let ask = || async {
        let mut incoming = server.incoming(&server.root, Read, "fake/store/a", Map::new());
        incoming.connection.remote_address = None;
        server.core.handle(incoming).await.status
    };
    for want in [404, 404, 429] {
        assert_eq!(ask().await, want);
    }
    // One with an address has a window of its own.
    assert_eq!(server.call(&server.root, Read, "fake/store/a", json!({})).await.0, 404);
}

#[tokio::test]
async fn what_holds_nothing_has_no_name_with_a_slash() {
    let server = Server::new().await;
    for (path, status) in [
        ("sys/metrics", 200),
        ("sys/metrics/", 404),
        ("sys/mounts/", 404),
        ("sys/auth/", 404),
        ("sys/rotate/config/", 404),
        ("sys/locked-users/", 404),
        ("sys/host-info/", 200),
        ("sys/mounts/fake/", 200),
    ] {
        let got = server.call(&server.root, Read, path, json!({})).await;
        assert_eq!(got.0, status, "{path}: {}", got.1);
    }
}
