//! Changes reach files: told of or polled for, all at once, with their lineage.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::world::{Program, World, until};

const TWO: &str = r#"
    template {
      contents    = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}"
      destination = "FOLDER/agent/one"
      perms       = "0640"
    }
    template {
      contents    = "{{ with secret \"kv/data/app\" }}n={{ .Data.data.n }}{{ end }}"
      destination = "FOLDER/agent/below/two"
      perms       = "0640"
    }
"#;

#[tokio::test]
async fn a_change_is_told_of_and_reaches_all_files() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let agent = world.agent(Program::Ours, "agent", TWO);
    world.until(&agent, "agent/below/two", "n=1").await;
    agent.until("being told of changes", |status| status.server.told_of_changes).await;
    for round in 2..12 {
        world.put("app", json!({ "n": round.to_string() })).await;
        world.until(&agent, "agent/below/two", &format!("n={round}")).await;
        // The flip is one: who sees the one sees the other.
        assert_eq!(world.text("agent/one"), round.to_string());
    }
    let status = agent.status().await;
    assert_eq!(status.worst(), None);
    for file in &status.files {
        let source = &file.sources[0];
        assert_eq!((source.path.as_str(), source.version), ("kv/data/app", Some(11)));
        assert_eq!(source.fields, ["data.data.n"]);
        assert_eq!(file.generation, status.generation.as_ref().map(|all| all.number));
    }
    assert!(!serde_json::to_string(&status).unwrap().contains("hvs."), "no token in it");
}

#[tokio::test]
async fn where_nothing_is_told_secrets_are_polled() {
    let world = World::bao().await;
    world.put("app", json!({ "n": "1" })).await;
    let config = format!("template_config {{ static_secret_render_interval = \"1s\" }}\n{TWO}");
    let agent = world.agent(Program::Ours, "agent", &config);
    world.until(&agent, "agent/one", "1").await;
    world.put("app", json!({ "n": "2" })).await;
    world.until(&agent, "agent/one", "2").await;
    let status = agent
        .until("the reason for polling", |status| status.server.polling_because.is_some())
        .await;
    let why = status.server.polling_because.unwrap();
    assert!(why.contains("no events"), "{why}");
}

#[tokio::test]
async fn what_fails_touches_nothing_else() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    world.put("denied/x", json!({ "n": "1" })).await;
    let config = format!(
        r#"
        template {{
          contents    = "\n  {{{{ with secret \"kv/data/denied/x\" }}}}{{{{ .Data.data.n }}}}{{{{ end }}}}"
          destination = "FOLDER/agent/denied"
        }}
        template {{
          contents             = "{{{{ with secret \"kv/app\" }}}}{{{{ .Data.data.missing }}}}{{{{ end }}}}"
          destination          = "FOLDER/agent/missing"
          error_on_missing_key = true
        }}
        template {{
          contents    = "{{{{ if }}}}"
          destination = "FOLDER/agent/broken"
        }}
        template {{
          source      = "FOLDER/no.ctmpl"
          destination = "FOLDER/agent/nowhere"
        }}
        {TWO}
        "#
    );
    let agent = world.agent(Program::Ours, "agent", &config);
    world.until(&agent, "agent/one", "1").await;
    let status = agent
        .until("all four to fail", |status| {
            status.files.iter().filter(|file| file.problem.is_some()).count() == 4
        })
        .await;
    let problem = |index: usize| status.files[index].problem.clone().unwrap();
    let denied = problem(0);
    assert!(denied.message.contains("permission denied"), "{denied:?}");
    assert_eq!((denied.line, denied.column.is_some()), (Some(2), true));
    assert!(denied.explain.is_some_and(|id| id.len() == 36), "the operator can ask why");
    let missing = problem(1);
    assert!(missing.message.contains("no entry for key \"missing\""), "{missing:?}");
    assert_eq!(problem(2).line, Some(1), "{:?}", problem(2));
    assert!(problem(3).message.contains("no.ctmpl"), "{:?}", problem(3));
    for (index, name) in ["denied", "missing", "broken", "nowhere"].iter().enumerate() {
        assert!(!world.path(&format!("agent/{name}")).exists(), "{name} {index}");
    }
    world.put("app", json!({ "n": "2" })).await;
    world.until(&agent, "agent/one", "2").await;
    // A template that was broken is read anew when somebody mends it.
    fs::write(world.path("no.ctmpl"), "mended").unwrap();
    world.until(&agent, "agent/nowhere", "mended").await;
    // What was refused is asked for again, but not at once and not for ever faster.
    let refused = agent.log().matches("kind=Denied").count();
    assert!((1..20).contains(&refused), "{refused} tries");
}

#[tokio::test]
async fn odd_values_pass_whole() {
    let world = World::ours().await;
    let large = "x".repeat(1 << 20);
    let binary = "AAEC/v8A"; // 00 01 02 fe ff 00
    world.put("odd", json!({ "large": large, "binary": binary, "empty": "" })).await;
    let agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        template {
          contents    = "{{ with secret \"kv/odd\" }}{{ .Data.data.large }}{{ end }}"
          destination = "FOLDER/agent/large"
        }
        template {
          contents    = "{{ with secret \"kv/odd\" }}{{ .Data.data.binary | base64Decode }}{{ end }}"
          destination = "FOLDER/agent/binary"
        }
        template {
          contents    = "{{ with secret \"kv/odd\" }}{{ .Data.data.empty }}{{ end }}"
          destination = "FOLDER/agent/empty"
        }
        "#,
    );
    until("all files", &agent, || world.path("agent/empty").exists()).await;
    assert!(world.text("agent/large") == large);
    assert_eq!(fs::read(world.path("agent/binary")).unwrap(), [0, 1, 2, 0xfe, 0xff, 0]);
    assert_eq!(fs::read(world.path("agent/empty")).unwrap(), b"");
}

#[tokio::test]
async fn two_fields_of_one_write_are_of_one_answer() {
    let world = World::ours().await;
    world.root.write("sys/mounts/pki", &json!({ "type": "pki" })).await.unwrap();
    let root = json!({ "common_name": "test", "ttl": "87600h" });
    world.root.write("pki/root/generate/internal", &root).await.unwrap();
    let role = json!({ "allow_any_name": true, "max_ttl": "72h" });
    world.root.write("pki/roles/web", &role).await.unwrap();
    let asks = r#"secret \"pki/issue/web\" \"common_name=web.example\" \"ttl=24h\""#;
    let file = |field: &str, name: &str| {
        format!(
            r#"template {{
              contents    = "{{{{ with {asks} }}}}{{{{ .Data.{field} }}}}{{{{ end }}}}"
              destination = "FOLDER/agent/{name}"
            }}
            "#
        )
    };
    let config =
        [file("certificate", "cert"), file("private_key", "key"), file("serial_number", "serial")];
    let agent = world.agent(Program::Ours, "agent", &config.concat());
    until("all three", &agent, || {
        ["cert", "key", "serial"].iter().all(|name| world.path(&format!("agent/{name}")).exists())
    })
    .await;
    let issued = world.root.list("pki/certs").await.unwrap();
    // The authority's own, and one: whoever has the key has its certificate.
    assert_eq!(issued.len(), 2, "{issued:?}");
    let serial = world.text("agent/serial").replace(':', "-");
    assert!(issued.iter().any(|known| known.replace(':', "-") == serial), "{serial} {issued:?}");
}

#[tokio::test]
async fn who_holds_a_secret_can_be_asked_for() {
    let world = World::ours().await;
    world.put("traced", json!({ "n": "1" })).await;
    let agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        template {
          contents    = "{{ with secret \"kv/traced\" }}{{ .Data.data.n }}{{ end }}"
          destination = "FOLDER/agent/traced"
          command     = "test ! -e FOLDER/refuse"
        }
        "#,
    );
    agent.until("the first to be told", |status| status.consumers[0].generation == 1).await;
    fs::write(world.path("refuse"), "").unwrap();
    world.put("traced", json!({ "n": "2" })).await;
    world.until(&agent, "agent/traced", "2").await;
    let status =
        agent.until("a stale consumer", |status| status.consumers[0].problem.is_some()).await;
    let consumer = &status.consumers[0];
    assert!(consumer.stale && consumer.generation == 1 && consumer.wanted == 2, "{consumer:?}");
    assert_eq!(consumer.holds[0].version, Some(1), "what it took up, not what there is");
    assert_eq!(status.generation.unwrap().kept, [1], "its generation stays");

    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["trace", "secret", "kv/traced", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "somebody is outdated");
    let holders: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mine = holders
        .iter()
        .filter(|one| one["file"].as_str().is_some_and(|file| world.path("agent/traced") == *file));
    let told: Vec<_> = mine
        .map(|one| (one["version"].as_u64(), one["process"].is_string(), one["outdated"] == true))
        .collect();
    assert_eq!(told, [(Some(2), false, false), (Some(1), true, true)]);
}

#[tokio::test]
async fn hangup_takes_templates_in_and_out_and_keeps_what_was_where_they_are_wrong() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let template = |name: &str, more: &str| {
        format!(
            r#"
            template {{
              contents    = "{{{{ with secret \"kv/app\" }}}}{{{{ .Data.data.n }}}}{{{{ end }}}}"
              destination = "FOLDER/agent/{name}"
              {more}
            }}
            "#
        )
    };
    let (one, two) = (template("one", ""), template("two", ""));
    let agent = world.agent(Program::Ours, "agent", &one);
    world.until(&agent, "agent/one", "1").await;

    world.configure("agent", &format!("{one}{two}"));
    agent.hangup();
    world.until(&agent, "agent/two", "1").await;
    let files = agent.until("both", |status| status.files.len() == 2).await.files;
    assert!(files.iter().all(|file| file.problem.is_none()), "{files:?}");

    world.configure("agent", &two);
    agent.hangup();
    until("the first to go", &agent, || !world.path("agent/one").is_symlink()).await;
    assert_eq!(world.text("agent/two"), "1");

    // What cannot be understood, and what can, but not be carried out.
    for (wrong, says) in [
        (template("one", "perms = 644"), "the one before stays"),
        (template("one", "user = \"nobody-of-that-name\""), "those before stay"),
    ] {
        world.configure("agent", &wrong);
        agent.hangup();
        until(says, &agent, || agent.log().contains(says)).await;
        let files = agent.until("the one file", |status| status.files.len() == 1).await.files;
        assert_eq!(files[0].destination, world.path("agent/two"));
    }
    world.put("app", json!({ "n": "2" })).await;
    world.until(&agent, "agent/two", "2").await;
}

#[tokio::test]
async fn bad_templates_and_values_are_named_with_their_place() {
    let world = World::ours().await;
    let odd = json!({ "n": "1", "lines": "a\nb\r\n\u{0}c", "nul": "a\u{0}b" });
    world.put("app", odd).await;
    let secret = r#"{{ with secret "kv/app" }}{{ .Data.data.FIELD }}{{ end }}"#;
    // A template, what is said of it, and in which line.
    let cases = [
        ("unterminated", "one\n{{ if true }}two", "unexpected EOF", 2),
        ("unclosed", "one\n{{ 1 ", "unclosed action", 2),
        ("unknown", "one\n\n{{ conjure 1 }}", "function \"conjure\" not defined", 3),
        ("consul", "{{ key \"a/b\" }}", "needs Consul", 1),
        (
            "cycle",
            "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}\n{{ template \"a\" . }}",
            "maximum template depth",
            1,
        ),
        ("huge", "x\n{{ range 1000000000000 }}{{ . }}{{ end }}", "the output is too large", 2),
    ];
    let mut config = String::new();
    for (name, text, ..) in cases {
        fs::write(world.path(&format!("{name}.ctmpl")), text).unwrap();
        config += &format!(
            "template {{\n source = \"FOLDER/{name}.ctmpl\"\n destination = \"FOLDER/agent/{name}\"\n}}\n"
        );
    }
    fs::write(world.path("lines.ctmpl"), secret.replace("FIELD", "lines")).unwrap();
    config +=
        "template {\n source = \"FOLDER/lines.ctmpl\"\n destination = \"FOLDER/agent/lines\"\n}\n";
    fs::write(world.path("nul.ctmpl"), secret.replace("FIELD", "nul")).unwrap();
    config += "env_template \"NUL\" { source = \"FOLDER/nul.ctmpl\" }\n\
               exec { command = [\"touch\", \"FOLDER/started\"] }\n";
    let agent = world.agent(Program::Ours, "agent", &config);
    world.until(&agent, "agent/lines", "a\nb\r\n\u{0}c").await;
    let status = agent
        .until("all to be named", |status| {
            status.files[..cases.len()].iter().all(|file| file.problem.is_some())
                && status.variables[0].problem.is_some()
        })
        .await;
    for (file, (name, _, says, line)) in status.files.iter().zip(cases) {
        let problem = file.problem.clone().unwrap();
        assert!(problem.message.contains(says), "{name}: {problem:?}");
        assert_eq!(problem.line, Some(line), "{name}: {problem:?}");
        assert!(!world.path(&format!("agent/{name}")).exists(), "{name}");
    }
    let nul = status.variables[0].problem.clone().unwrap();
    assert!(nul.message.contains("cannot hold a NUL"), "{nul:?}");
    assert!(!world.path("started").exists(), "there is no process without its variables");
    // Others are rendered on.
    world.put("app", json!({ "n": "1", "lines": "d", "nul": "a\u{0}b" })).await;
    world.until(&agent, "agent/lines", "d").await;
}
