use std::fs;

use super::*;
use crate::http::{ClientCertificates, SocketSettings};

/// Loads one file of this text.
fn load_text(text: &str) -> Result<ServerConfig, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.hcl");
    fs::write(&path, text).unwrap();
    let shorten = |problem: &Problem| {
        problem.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    load(&[path]).map_err(|error| error.0.iter().map(shorten).collect())
}

const LEAST: &str = "storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true }\n";

#[test]
fn the_least_configuration_gets_defaults() {
    let config = load_text(LEAST).unwrap();
    assert_eq!(config.storage, StorageSettings::Inmem);
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!(listener.socket, SocketSettings::Tcp("127.0.0.1:8200".parse().unwrap()));
    assert!(listener.tls.is_none());
    assert_eq!(listener.limits, crate::http::Limits::default());
    assert!(matches!(config.seal, SealSettings::Shamir));
    assert_eq!(config.max_lease_ttl, Duration::from_secs(768 * 3600));
    assert_eq!((config.log_level.as_str(), config.log_json), ("info", false));
}

#[test]
fn a_whole_configuration_is_read_in_either_language() {
    let hcl = r#"
        storage "sqlite" { path = "/var/lib/vault/vault.db" reserve_bytes = 1048576 }
        listener "tcp" {
          address = "0.0.0.0:8200"
          tls_cert_file = "/tls/cert.pem"
          tls_key_file = "/tls/key.pem"
          tls_min_version = "tls13"
          max_request_size = 1024
          http_read_timeout = "5s"
        }
        listener "unix" { address = "/run/vault.sock" socket_mode = "0660" }
        listener "tcp" { inherited_fd = "vault" tls_disable = "true" }
        seal "static" {
          current_key_id = "k2"
          current_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
          previous_key_id = "k1"
          previous_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        }
        audit "file" "main" { description = "all" options { file_path = "/var/log/audit.log" } }
        initialize "first" {
          request "kv" {
            operation = "update"
            path = "sys/mounts/kv"
            data = { type = "kv", options = { version = "2" }, config = { n = 5, l = ["a", true] } }
          }
        }
        default_lease_ttl = "1h"
        max_lease_ttl = "24h"
        log_level = "DEBUG"
        log_format = "json"
        log_file = "/var/log/vault.log"
        log_rotate_bytes = 1048576
        log_rotate_duration = "1h"
        log_rotate_max_files = 3
        api_addr = "https://vault.example:8200"
        cluster_addr = "https://vault.example:8201"
        ui = true
        disable_mlock = true
        telemetry { statsd_address = "x" }
    "#;
    let json = r#"{
        "storage": {"sqlite": {"path": "/var/lib/vault/vault.db", "reserve_bytes": 1048576}},
        "listener": [
          {"tcp": {"address": "0.0.0.0:8200", "tls_cert_file": "/tls/cert.pem",
            "tls_key_file": "/tls/key.pem", "tls_min_version": "tls13",
            "max_request_size": 1024, "http_read_timeout": "5s"}},
          {"unix": {"address": "/run/vault.sock", "socket_mode": "0660"}},
          {"tcp": {"inherited_fd": "vault", "tls_disable": true}}
        ],
        "seal": {"static": {
          "current_key_id": "k2",
          "current_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
          "previous_key_id": "k1",
          "previous_key": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        }},
        "audit": {"file": {"main": {"description": "all",
          "options": {"file_path": "/var/log/audit.log"}}}},
        "initialize": [{"first": {"request": [{"kv": {
          "operation": "update", "path": "sys/mounts/kv",
          "data": {"type": "kv", "options": {"version": "2"}, "config": {"n": 5, "l": ["a", true]}}
        }}]}}],
        "default_lease_ttl": "1h", "max_lease_ttl": "24h",
        "log_level": "DEBUG", "log_format": "json", "log_file": "/var/log/vault.log",
        "log_rotate_bytes": "1048576", "log_rotate_duration": 3600, "log_rotate_max_files": 3,
        "api_addr": "https://vault.example:8200"
    }"#;
    for text in [hcl, json] {
        let config = load_text(text).unwrap();
        let store = PathBuf::from("/var/lib/vault/vault.db");
        let sqlite = StorageSettings::Sqlite { path: store, reserve_bytes: Some(1 << 20) };
        assert_eq!(config.storage, sqlite);
        let [tcp, unix, inherited] = &config.listeners[..] else { panic!("three listeners") };
        let tls = tcp.tls.as_ref().unwrap();
        assert_eq!(tls.client_certificates, ClientCertificates::Ask);
        assert!(tls.only_tls13);
        assert_eq!((tcp.limits.body, tcp.limits.body_timeout.as_secs()), (1024, 5));
        let path = "/run/vault.sock".into();
        assert_eq!(unix.socket, SocketSettings::Unix { path, mode: 0o660 });
        assert_eq!(inherited.socket, SocketSettings::Inherited("vault".into()));
        let SealSettings::Static { current, previous } = &config.seal else { panic!("static") };
        assert_eq!(current.id, "k2");
        assert_eq!(current.key, previous.as_ref().unwrap().key, "base64 and hexadecimal");
        assert_eq!(config.audit[0].path, "main/");
        assert_eq!(config.audit[0].options["file_path"], "/var/log/audit.log");
        let request = &config.initialize[0];
        assert_eq!((request.name.as_str(), request.path.as_str()), ("first.kv", "sys/mounts/kv"));
        let data = serde_json::json!(
            {"type": "kv", "options": {"version": "2"}, "config": {"n": 5, "l": ["a", true]}}
        );
        assert_eq!(serde_json::Value::Object(request.data.clone()), data);
        assert_eq!((config.log_level.as_str(), config.log_json), ("debug", true));
        let log_file = LogFileSettings {
            path: "/var/log/vault.log".into(),
            rotate_bytes: 1 << 20,
            rotate_after: Duration::from_secs(3600),
            max_files: 3,
        };
        assert_eq!(config.log_file, Some(log_file));
        assert_eq!(config.default_lease_ttl, Duration::from_secs(3600));
    }
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, want) in [
        (
            "storage \"inmem\" {}\nlistener \"tcp\" {\n  tls_disable = 1\n  adress = \"x\"\n}",
            "vault.hcl:4:3: listener.tcp.adress: unknown setting; did you mean \"address\"?",
        ),
        (
            "storage \"raft\" {}\nlistener \"tcp\" { tls_disable = true }",
            "vault.hcl:1:1: storage: expected \"sqlite\" or \"inmem\" as its type",
        ),
        ("listener \"tcp\" { tls_disable = true }", "storage: none is configured"),
        ("storage \"inmem\" {}", "listener: none is configured"),
        (
            "storage \"sqlite\" {}\nlistener \"tcp\" { tls_disable = true }",
            "storage.sqlite.path: is missing: where to keep the database",
        ),
        (
            "storage \"inmem\" {}\nlistener \"tcp\" {\n tls_key_file = \"k\" }",
            "listener.tcp.tls_cert_file: is missing, and tls_disable is not set",
        ),
        (
            "storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true address = \"0.0.0.0:1\" }",
            "listener.tcp.tls_disable: tokens and secrets would cross the network",
        ),
        (
            "storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true address = \"here\" }",
            "listener.tcp.address: \"here\" is no address with a port",
        ),
        (&format!("{LEAST} log_level = \"loud\""), "log_level: expected one of trace"),
        (
            &format!("{LEAST} default_lease_ttl = \"2h\" max_lease_ttl = \"1h\""),
            "default_lease_ttl: is longer than max_lease_ttl",
        ),
        (
            &format!("{LEAST} seal \"static\" {{ current_key_id = \"a\" current_key = \"zz\" }}"),
            "seal.static.current_key: is no key: expected 32 bytes",
        ),
        (
            &format!("{LEAST} seal \"static\" {{ current_key = \"file:///nowhere\" }}"),
            "seal.static.current_key_id: is missing",
        ),
        (
            &format!("{LEAST} audit \"file\" \"a\" {{ options {{ log_raw = \"true\" }} }}"),
            "audit.a: option \"log_raw\" would write secrets in the clear",
        ),
        (&format!("{LEAST} audit \"file\" {{}}"), "audit: expected a type and a name"),
        (
            &format!("{LEAST} initialize \"a\" {{}}\n initialize \"a\" {{}}"),
            "initialize.a: named twice",
        ),
        (
            &format!("{LEAST} initialize \"a\" {{ request \"b\" {{ path = \"x\" }} }}"),
            "initialize.a.request.b.operation: is missing",
        ),
        ("listener \"tcp\" {", "vault.hcl:1:18: object expected closing RBRACE got: EOF"),
    ] {
        let problems = load_text(text).unwrap_err();
        let found = problems.iter().any(|problem| problem.contains(want));
        assert!(found, "{text}\n{problems:#?}");
    }
}

#[test]
fn problems_are_reported_together_and_files_lie_over_each_other() {
    let problems = load_text("frob = 1\nstorage \"x\" {}").unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(
        !problems
            .iter()
            .any(|problem| problem.contains("none is configured") && problem.contains("storage"))
    );

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.hcl"), LEAST).unwrap();
    fs::write(folder.path().join("b.json"), "{\"log_level\": \"warn\"}").unwrap();
    fs::write(folder.path().join("notes.txt"), "ignored").unwrap();
    let config = load(&[folder.path().to_owned()]).unwrap();
    assert_eq!((config.log_level.as_str(), config.listeners.len()), ("warn", 1));

    let error = load(&["/nowhere.hcl".into()]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere.hcl: cannot be read"), "{error}");
}

#[test]
fn a_key_in_a_file_may_be_raw_and_should_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, [7; 32]).unwrap();
    let text = format!(
        "{LEAST} seal \"static\" {{ current_key_id = \"a\" current_key = \"file://{}\" }}",
        path.display()
    );
    for (mode, warnings) in [(0o600, 0), (0o644, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let config = load_text(&text).unwrap();
        let SealSettings::Static { current, .. } = &config.seal else { panic!("static") };
        assert_eq!(current.key.expose(), &[7; 32]);
        assert_eq!(config.warnings.len(), warnings);
    }
}

#[test]
fn the_storage_is_known_without_the_key_that_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.hcl");
    let seal = "seal \"static\" { current_key_id = \"1\" current_key = \"file:///not/there\" }\n";
    fs::write(&path, format!("{seal}storage \"sqlite\" {{ path = \"vault.db\" }}\n")).unwrap();
    load(std::slice::from_ref(&path)).unwrap_err();
    let storage = load_storage(std::slice::from_ref(&path)).unwrap();
    let sqlite = StorageSettings::Sqlite { path: "vault.db".into(), reserve_bytes: None };
    assert_eq!(storage, sqlite);
    fs::write(&path, seal).unwrap();
    let error = load_storage(&[path]).unwrap_err().to_string();
    assert_eq!(error, "storage: none is configured");
}

#[test]
fn a_share_of_an_address_is_a_percentage() {
    let load = |share: &str| {
        let listener = format!("listener \"tcp\" {{ tls_disable = true {share} }}");
        load_text(&format!("storage \"inmem\" {{}}\n{listener}\n"))
    };
    for (share, want) in [("", 50), ("max_percent_per_address = 100", 100)] {
        assert_eq!(load(share).unwrap().listeners[0].limits.address_share, want);
    }
    for share in ["0", "101", "-1", "\"half\""] {
        let problems = load(&format!("max_percent_per_address = {share}")).unwrap_err();
        assert!(problems[0].contains("max_percent_per_address"), "{problems:?}");
    }
}

#[test]
fn a_reserve_is_a_number_of_bytes() {
    let refused = |bytes: &str| {
        let storage = format!("storage \"sqlite\" {{ path = \"v\" reserve_bytes = {bytes} }}\n");
        load_text(&format!("{storage}listener \"tcp\" {{ tls_disable = true }}\n")).unwrap_err()
    };
    assert!(refused("-1")[0].contains("storage.sqlite.reserve_bytes: cannot be negative"));
    assert!(refused("\"64 MiB\"")[0].contains("storage.sqlite.reserve_bytes: "));
}
