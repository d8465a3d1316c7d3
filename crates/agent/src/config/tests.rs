use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::*;

/// Loads one file of this text.
fn load_text(text: &str) -> Result<AgentConfig, Vec<String>> {
    load_with(text, &Overrides::default())
}

fn load_with(text: &str, overrides: &Overrides) -> Result<AgentConfig, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.hcl");
    fs::write(&path, text).unwrap();
    let shorten = |problem: &Problem| {
        problem.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    load(&[path], overrides).map_err(|error| error.0.iter().map(shorten).collect())
}

const METHOD: &str = "method \"approle\" { config { role_id_file_path = \"/r\" } }";
const SINK: &str = "sink \"file\" { config { path = \"/t\" } }";

/// The least that is complete, and more.
fn with(more: &str) -> String {
    format!("auto_auth {{\n {METHOD}\n {SINK}\n}}\n{more}")
}

#[test]
fn the_least_configuration_gets_defaults() {
    let config = load_text(&with("")).unwrap();
    assert_eq!(config.server.address.to_string(), "https://127.0.0.1:8200");
    assert_eq!(config.server.max_retries, 12);
    let auth = config.auto_auth.unwrap();
    assert_eq!(auth.method.mount_path, "auth/approle");
    assert_eq!((auth.method.min_backoff, auth.method.max_backoff.as_secs()), (MIN_BACKOFF, 300));
    let Method::AppRole(approle) = &auth.method.method else { panic!("approle") };
    assert!(approle.remove_secret_id_file);
    assert_eq!(approle.secret_id_file, None);
    assert_eq!((auth.sinks[0].mode, auth.sinks[0].uid), (0o640, None));
    assert_eq!(config.templating, TemplatingConfig::default());
    assert_eq!((config.log.level, config.log.json), ("info", false));
    assert_eq!(config.api_proxy.use_auto_auth_token, AutoAuthToken::Never);
    assert!(config.listeners.is_empty() && config.cache.is_none());
}

const WHOLE: &str = r#"
    pid_file = "/run/agent.pid"
    state_dir = "/run/agent"
    log_level = "DEBUG"  log_format = "json"  log_file = "/var/log/agent.log"
    vault {
      address = "http://127.0.0.1:1111"  ca_cert = "/ca.pem"  tls_skip_verify = "true"
      client_cert = "/c.pem"  client_key = "/k.pem"  namespace = "team/"
      retry { num_retries = -1 }
    }
    auto_auth {
      method {
        type = "jwt"  mount_path = "auth/ci/"  namespace = "/ci/"
        min_backoff = "2s"  max_backoff = 60  exit_on_err = true
        config = { path = "/jwt"  role = "app"  remove_jwt_after_reading = "false" }
      }
      sink "file" {
        wrap_ttl = "5m"  dh_type = "curve25519"  dh_path = "/peer"  aad = "a"  derive_key = true
        config = { path = "/token"  mode = 0600  uid = 1000  gid = -1 }
      }
      sink { type = "file" config { path = "/token2" } }
    }
    template_config {
      exit_on_retry_failure = true
      static_secret_render_interval = "1m"
      max_connections_per_host = 3
      lease_renewal_threshold = 0.5
      generation_dir = "/run/secrets"
    }
    template {
      source = "/in.ctmpl"  destination = "/out/a"  perms = 0655  user = "app"  gid = 7
      left_delimiter = "<<"  right_delimiter = ">>"  error_on_missing_key = true  backup = true
      command = "restart foo"  command_timeout = "60s"  create_dest_dirs = false
      sandbox_path = "/in"  function_denylist = ["plugin"]
      wait { min = "5s" max = "30s" }
      wait { min = "10s" max = "40s" }
      reload_signal = "SIGHUP"
      acknowledge { file = "/run/ack" timeout = "5s" }
    }
    template {
      contents = "{{ with secret \"a\" }}{{ end }}"  destination = "/out/b"  perms = "0400"
      wait = "2s"
      exec { command = ["kill", "-HUP", "1"] timeout = "10s" env { pristine = true custom = ["A=b"] } }
    }
    env_template "PASSWORD" { contents = "x"  error_on_missing_key = true }
    exec {
      command = ["/app", "-v"]  restart_on_secret_changes = "never"  restart_stop_signal = "INT"
      child_process_stdout = "/log"  reload_signal = "hup"
      acknowledge { command = "test -f ok" }
    }
    cache { persist "kubernetes" { path = "/p" } }
    api_proxy { use_auto_auth_token = "force"  enforce_consistency = "always" }
    listener "tcp" {
      address = "0.0.0.0:8100"  tls_disable = true  require_request_header = true
      agent_api { enable_quit = true }
    }
    listener "unix" { address = "/a.sock"  socket_mode = "0660"  socket_user = "app" }
    listener { type = "tcp"  address = "127.0.0.1:0"  tls_disable = 1  role = "metrics_only" }
    listener "tcp" { tls_cert_file = "/c"  tls_key_file = "/k"  tls_min_version = "tls13" }
    telemetry { prometheus_retention_time = "30s"  disable_hostname = true  statsd_address = "x" }
    disable_idle_connections = ["auto-auth"]
    disable_mlock = true
"#;

#[test]
fn every_setting_is_read() {
    let config = load_text(WHOLE).unwrap();
    let server = &config.server;
    assert_eq!(server.address.to_string(), "http://127.0.0.1:1111");
    assert!(matches!(server.trust, holdfast_client::vault::Trust::Anyone));
    assert_eq!(server.client_certificate, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!((server.namespace.as_deref(), server.max_retries), (Some("team/"), 0));
    let auth = config.auto_auth.as_ref().unwrap();
    let method = &auth.method;
    assert_eq!((method.mount_path.as_str(), method.namespace.as_deref()), ("auth/ci", Some("ci")));
    assert_eq!((method.min_backoff.as_secs(), method.max_backoff.as_secs()), (2, 60));
    assert!(method.exit_on_err);
    let Method::Jwt(jwt) = &method.method else { panic!("jwt") };
    assert_eq!((jwt.role.as_str(), jwt.remove_after_reading), ("app", false));
    assert_eq!(jwt.read_period, Duration::from_secs(60));
    let sink = &auth.sinks[0];
    assert_eq!((sink.mode, sink.uid, sink.gid), (0o600, Some(1000), None));
    assert_eq!(sink.wrap_ttl, Some(Duration::from_secs(300)));
    let encryption = sink.encryption.as_ref().unwrap();
    assert_eq!((encryption.aad.as_str(), encryption.derive_key), ("a", true));
    assert_eq!(auth.sinks.len(), 2);
    assert_eq!(
        config.templating,
        TemplatingConfig {
            exit_on_retry_failure: true,
            static_secret_render_interval: Duration::from_secs(60),
            max_connections_per_host: 3,
            lease_renewal_threshold: 0.5,
            generation_dir: Some("/run/secrets".into()),
        }
    );
    let [first, second] = &config.templates[..] else { panic!("two templates") };
    assert_eq!(first.text.source, TemplateSource::File("/in.ctmpl".into()));
    assert_eq!((first.mode, &first.user), (Some(0o655), &Some(Principal::Name("app".into()))));
    assert_eq!((&first.group, first.create_dest_dirs), (&Some(Principal::Id(7)), false));
    let wait = first.wait.unwrap();
    assert_eq!((wait.min.as_secs(), wait.max.as_secs()), (10, 40), "the last block counts");
    let command = first.command.as_ref().unwrap();
    assert_eq!(
        (&command.command[..], command.timeout.as_secs()),
        (&["restart foo".into()][..], 60)
    );
    assert_eq!(first.reload_signal, Some(Signal::SIGHUP));
    let by = Acknowledgement::File("/run/ack".into());
    let acknowledge = AcknowledgeConfig { by, timeout: Duration::from_secs(5) };
    assert_eq!(first.acknowledge, Some(acknowledge));
    assert_eq!((second.mode, second.create_dest_dirs), (Some(0o400), true));
    assert_eq!(second.wait.map(|wait| wait.max.as_secs()), Some(8));
    let command = second.command.as_ref().unwrap();
    assert_eq!((command.command.len(), command.environment.pristine), (3, true));
    assert_eq!(config.env_templates[0].variable, "PASSWORD");
    let exec = config.exec.as_ref().unwrap();
    assert_eq!(exec.command, ["/app", "-v"]);
    assert_eq!(exec.restart_on_secret_changes, RestartOn::Never);
    assert_eq!(exec.restart_stop_signal, Signal::SIGINT);
    assert_eq!(exec.reload_signal, Some(Signal::SIGHUP));
    let by = Acknowledgement::Command(vec!["test -f ok".into()]);
    assert_eq!(exec.acknowledge.as_ref().map(|acknowledge| &acknowledge.by), Some(&by));
    assert_eq!(config.api_proxy.use_auto_auth_token, AutoAuthToken::Always);
    let [tcp, unix, metrics, tls] = &config.listeners[..] else { panic!("four listeners") };
    assert!(tcp.require_request_header && tcp.enable_quit);
    let user = Some(Principal::Name("app".into()));
    let path = "/a.sock".into();
    assert_eq!(unix.socket, SocketConfig::Unix { path, mode: 0o660, user, group: None });
    assert_eq!(metrics.role, ListenerRole::MetricsOnly);
    assert!(tls.tls.as_ref().unwrap().only_tls13);
    assert_eq!(config.state_dir, Some("/run/agent".into()));
    assert_eq!((config.log.level, config.log.json), ("debug", true));
    let [cache, statsd, network, force] = &config.warnings[..] else { panic!("four warnings") };
    assert!(cache.starts_with("cache.persist has no effect"), "{cache}");
    assert!(statsd.starts_with("telemetry.statsd_address has no effect"), "{statsd}");
    assert!(network.contains("clear text"), "{network}");
    assert!(force.contains("\"force\""), "{force}");
}

/// The shape that the Kubernetes injector writes.
#[test]
fn json_means_the_same() {
    let config = load_text(
        r#"{
        "auto_auth": {
          "method": {
            "type": "kubernetes", "mount_path": "auth/kubernetes",
            "config": {"role": "app", "token_path": "/var/run/token"}
          },
          "sink": [{"type": "file", "config": {"path": "/home/vault/.vault-token"}}]
        },
        "exit_after_auth": true,
        "pid_file": "/home/vault/.pid",
        "vault": {"address": "https://vault.svc:8200", "tls_skip_verify": true},
        "template": [
          {"destination": "/a", "contents": "x", "left_delimiter": "{{", "right_delimiter": "}}",
           "perms": "0640", "error_on_missing_key": true, "exec": [{"command": ["true"]}]},
          {"destination": "/b", "contents": "y", "perms": 420}
        ],
        "template_config": {"exit_on_retry_failure": true},
        "api_proxy": [{"use_auto_auth_token": true}],
        "listener": [{"tcp": {"address": "127.0.0.1:8200", "tls_disable": true}}]
    }"#,
    )
    .unwrap();
    let auth = config.auto_auth.unwrap();
    let role = Kubernetes { role: "app".into(), token_path: "/var/run/token".into() };
    assert_eq!(auth.method.method, Method::Kubernetes(role));
    assert_eq!(auth.sinks.len(), 1);
    let modes: Vec<_> = config.templates.iter().map(|template| template.mode).collect();
    assert_eq!(modes, [Some(0o640), Some(0o644)]);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.api_proxy.use_auto_auth_token, AutoAuthToken::IfNone);
    assert!(config.exit_after_auth);
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let method = |kind: &str, config: &str| {
        format!("auto_auth {{\n method {{ type = \"{kind}\"\n {config} }}\n {SINK} }}")
    };
    let rows = [
        (
            "vault { adress = \"x\" }".into(),
            "agent.hcl:1:9: vault.adress: unknown setting; did you mean \"address\"?",
        ),
        ("".into(), "no auto_auth, cache or listener block"),
        (with("vault { address = \"here\" }"), "vault.address: \"here\" is not an address"),
        (with("vault { client_cert = \"c\" }"), "vault.client_key: is missing"),
        (with("vault {}\nvault {}"), "agent.hcl:6:1: vault: stands here a second time"),
        (format!("auto_auth {{ {METHOD} }}"), "auto_auth: nobody would get the token"),
        (format!("auto_auth {{ {SINK} }}"), "agent.hcl:1:1: auto_auth.method: is missing"),
        (method("aws", ""), "auto_auth.method.type: the method \"aws\" is not supported; expected"),
        (method("aprole", ""), "there is no method \"aprole\""),
        (method("jwt", ""), "agent.hcl:2:2: auto_auth.method.config: is missing"),
        (method("jwt", "config { path = \"p\" }"), "auto_auth.method.config.role: is missing"),
        (
            method("approle", "config { role_id_file_path = \"r\" secret_id = \"s\" }"),
            "config.secret_id: is read from a file: write its path to secret_id_file_path",
        ),
        (method("cert", "config { client_cert = \"c\" }"), "client_cert: needs client_key"),
        (method("cert", "min_backoff = \"10m\""), "auto_auth.method.min_backoff: is not shorter"),
        (format!("auto_auth {{ {METHOD} sink \"fifo\" {{}} }}"), "there is no sink \"fifo\""),
        (
            format!(
                "auto_auth {{ {METHOD} sink \"file\" {{ dh_type = \"x\" config {{ path = \"p\" }} }} }}"
            ),
            "auto_auth.sink.file.dh_type: expected \"curve25519\"",
        ),
        (
            format!(
                "auto_auth {{ {METHOD} sink \"file\" {{ config {{ path = \"p\" mode = 640 }} }} }}"
            ),
            "mode: is a decimal number, mode 1200: write 0640",
        ),
        (with("template { contents = \"x\" }"), "template.destination: is missing"),
        (with("template { destination = \"x\" }"), "source: is missing, and so is contents"),
        (
            with("template { destination = \"x\" contents = \"a\" source = \"b\" }"),
            "template.source: excludes contents",
        ),
        (
            with(
                "template { destination = \"x\" contents = \"a\" }\ntemplate { destination = \"x\" contents = \"b\" }",
            ),
            "two templates write x",
        ),
        (
            with("template { destination = \"x\" contents = \"a\" acknowledge {} }"),
            "acknowledge: needs a command, a file, or in exec ready = true",
        ),
        (
            with("template { destination = \"x\" contents = \"a\" acknowledge { ready = true } }"),
            "template.acknowledge: has ready = true, which only the process in exec can say",
        ),
        (
            with("exec { command = \"x\" acknowledge { ready = true file = \"/on\" } }"),
            "acknowledge: takes one of command, file and ready",
        ),
        (
            with("template { destination = \"x\" contents = \"a\" exec {} }"),
            "template.exec.command: is missing",
        ),
        (with("env_template \"A\" { contents = \"x\" }"), "env_template: needs exec"),
        (
            with("env_template \"A\" { contents = \"x\" perms = 0600 }\nexec { command = \"x\" }"),
            "env_template.A.perms: belongs to files",
        ),
        (with("exec { command = \"x\" }"), "exec: needs an env_template or a template"),
        (
            with("exec { command = \"x\" restart_stop_signal = \"SIGFOO\" }"),
            "exec.restart_stop_signal: \"SIGFOO\" is no signal",
        ),
        (with("cache {}"), "cache: needs a listener or a template"),
        (with("api_proxy {}"), "api_proxy: needs a listener"),
        (
            "cache { use_auto_auth_token = true }\nlistener \"tcp\" { tls_disable = true }".into(),
            "cache.use_auto_auth_token: needs auto_auth",
        ),
        (
            with("listener \"tcp\" { address = \"x\" tls_disable = 1 }"),
            "listener.tcp.address: \"x\" is no address with a port",
        ),
        (
            with("listener \"tcp\" {}"),
            "listener.tcp.tls_cert_file: is missing, and tls_disable is not set",
        ),
        (with("listener \"unix\" {}"), "listener.unix.address: is missing"),
        (with("log_level = \"loud\""), "log_level: expected one of trace"),
        (with("disable_keep_alives = [\"x\"]"), "disable_keep_alives: expected auto-auth"),
        ("vault {".into(), "agent.hcl:1:9: object expected closing RBRACE got: EOF"),
    ];
    for (text, want) in rows {
        let problems = load_text(&text).unwrap_err();
        assert!(problems.iter().any(|it| it.contains(want)), "{text}\nwant {want}\n{problems:#?}");
    }
}

#[test]
fn problems_are_reported_together_and_files_lie_over_each_other() {
    let text = "frob = 1\nvault { addres = 1 }\ntemplate {}";
    let problems = load_text(text).unwrap_err();
    assert!(problems.len() >= 5, "{problems:#?}");

    let folder = tempfile::tempdir().unwrap();
    let template = |name: &str| format!("template {{ contents = \"x\" destination = \"{name}\" }}");
    fs::write(folder.path().join("a.hcl"), with(&template("/a"))).unwrap();
    let later = "{\"log_level\": \"warn\", \"vault\": [{\"address\": \"http://b:1\"}]}";
    fs::write(folder.path().join("b.json"), later).unwrap();
    fs::write(folder.path().join("c.hcl"), template("/c")).unwrap();
    fs::write(folder.path().join(".#c.hcl"), "what an editor left").unwrap();
    let config = load(&[folder.path().to_owned()], &Overrides::default()).unwrap();
    assert_eq!((config.log.level, config.templates.len()), ("warn", 2));
    assert_eq!(config.server.address.to_string(), "http://b:1");
}

#[test]
fn flags_and_the_environment_win_over_files() {
    let overrides = Overrides {
        address: Some("http://flag:1".into()),
        namespace: Some("flag/".into()),
        tls_skip_verify: Some(false),
        max_retries: Some(3),
        exit_after_auth: Some(true),
        log_level: Some("trace".into()),
        ..Overrides::default()
    };
    let config = load_with(WHOLE, &overrides).unwrap();
    let server = &config.server;
    assert_eq!(server.address.to_string(), "http://flag:1");
    assert_eq!((server.namespace.as_deref(), server.max_retries), (Some("flag/"), 3));
    assert!(matches!(server.trust, holdfast_client::vault::Trust::File(_)));
    assert_eq!((config.exit_after_auth, config.log.level), (true, "trace"));
    let loud = Overrides { log_level: Some("loud".into()), ..Overrides::default() };
    assert!(load_with(WHOLE, &loud).unwrap_err()[0].starts_with("-log-level is one of"));
}

#[test]
fn the_logins_namespace_is_everybodys_where_no_other_is_set() {
    let method = METHOD.replace("config", "namespace = \"/team/\" config");
    let config = load_text(&format!("auto_auth {{ {method} {SINK} }}")).unwrap();
    assert_eq!(config.server.namespace.as_deref(), Some("team"));
}
