//! Values that the secrets server alone knows.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::world::{Rotating, both};
use crate::delivery::world::World;

const DELIVERED: &str = r#"
    template {
      contents    = "{{ with secret \"kv/app/key\" }}{{ .Data.data.key }}{{ end }}"
      destination = "FOLDER/agent/key"
      command     = "true"
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_made_or_given_and_reaches_its_files() {
    for world in [World::ours().await, World::bao().await] {
        world.put("app/key", json!({ "key": "the first", "other": "stays" })).await;
        let rotating = Rotating::start(world, &[], DELIVERED).await;
        let root = &rotating.world.root;
        rotating.until("the first file", |this| this.world.text("agent/key") == "the first");
        let read = async || {
            let read = root.read("kv/data/app/key", &[]).await.unwrap().unwrap().data.unwrap();
            (read["data"]["key"].as_str().unwrap().to_owned(), read["data"]["other"].clone())
        };
        let refused = both(&rotating.run(&["kv/app/key"], 1));
        assert!(refused.contains("does not say how"), "{refused}");

        // Generated, by a policy of the server.
        let policy = "length = 24\nrule \"charset\" { charset = \"abc\" }";
        root.write("sys/policies/password/abc", &json!({ "policy": policy })).await.unwrap();
        let metadata = json!({ "rotate": "value", "rotate_field": "key", "rotate_policy": "abc" });
        let body = json!({ "custom_metadata": metadata });
        root.write("kv/metadata/app/key", &body).await.unwrap();
        rotating.run(&["kv/app/key", "--timeout", "30s"], 0);
        let (made, other) = read().await;
        assert_eq!((made.len(), made.trim_matches(['a', 'b', 'c'])), (24, ""));
        assert_eq!(other, "stays");
        assert_eq!(rotating.world.text("agent/key"), made);

        // Given on standard input; the version before is destroyed.
        let words = ["kv/app/key", "--value", "-", "--destroy-old", "--output", "json"];
        let mut command = rotating.command(&words).stdin(Stdio::piped()).spawn().unwrap();
        command.stdin.take().unwrap().write_all(b"given by hand\n").unwrap();
        let output = command.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["phase"], &told["new"]["version"]), (&json!("done"), &json!(3)));
        assert_eq!(told["history"].as_array().unwrap().len(), 1);
        assert!(!both(&output).contains("given by hand") && !both(&output).contains(&made));
        assert_eq!(rotating.world.text("agent/key"), "given by hand");
        let old = root.read("kv/data/app/key", &[("version", "2")]).await.unwrap().unwrap();
        assert_eq!(old.data.unwrap()["metadata"]["destroyed"], true);

        let refused = both(&rotating.run(&["kv/app/key", "--value", "by hand"], 1));
        assert!(refused.contains("others could read it"), "{refused}");
    }
}

/// A process that has the value in its environment, and is well unless it is ill.
const IN_ENVIRONMENT: &str = r#"
    env_template "KEY" {
      contents = "{{ with secret \"kv/app/key\" }}{{ .Data.data.key }}{{ end }}"
    }
    exec {
      command                   = ["/bin/sh", "-c", "printf %s \"$KEY\" >FOLDER/has && exec sleep 1000"]
      restart_on_secret_changes = "always"
      acknowledge {
        command = "test ! -e FOLDER/ill"
        timeout = "1s"
      }
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_the_value_in_its_environment_is_a_consumer() {
    let world = World::ours().await;
    world.put("app/key", json!({ "password": "x", "key": "the-first" })).await;
    let rotating = Rotating::start(world, &[], IN_ENVIRONMENT).await;
    rotating.until("the process", |this| this.world.text("has") == "the-first");
    let settled = |status: &holdfast_agent::status::Status| status.worst().is_none();
    rotating.agent.until("the process to be well", settled).await;
    let metadata = json!({ "rotate": "value", "rotate_field": "key", "rotate_drain": "1s" });
    let body = json!({ "custom_metadata": metadata });
    rotating.world.root.write("kv/metadata/app/key", &body).await.unwrap();
    let words = ["kv/app/key", "--timeout", "30s"];
    let output = both(&rotating.run(&words, 0));
    assert!(output.contains("1 consumers are on the new"), "{output}");
    let read = rotating.world.root.read("kv/data/app/key", &[]).await.unwrap().unwrap();
    let made = read.data.unwrap()["data"]["key"].as_str().unwrap().to_owned();
    assert_eq!(rotating.world.text("has"), made, "it runs with the new value");

    // One that does not get along with the next value gets this one back.
    std::fs::write(rotating.world.path("ill"), "").unwrap();
    let output = both(&rotating.run(&words, 3));
    assert!(output.contains("process") && output.contains("does not acknowledge"), "{output}");
    rotating.until("the process with the value before", |this| this.world.text("has") == made);
    std::fs::remove_file(rotating.world.path("ill")).unwrap();
    rotating.agent.until("the process to be well again", settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_rotated_is_refused_with_the_reason() {
    let world = World::ours().await;
    world.put("app/key", json!({ "key": "x" })).await;
    let rotating = Rotating::start(world, &[], DELIVERED).await;
    rotating.until("the first file", |this| this.world.text("agent/key") == "x");
    let root = &rotating.world.root;
    root.write("sys/mounts/transit", &json!({ "type": "transit" })).await.unwrap();
    for (metadata, path, want) in [
        (json!({ "at_rest_key": "true" }), "kv/app/key", "at-rest key"),
        (json!({ "rotate": "never" }), "kv/app/key", "rotate=never"),
        (json!({ "rotate": "value" }), "kv/app/key", "no text field password"),
        (json!({ "rotate": "value" }), "one/app", "keeps no versions"),
        (json!({ "rotate": "value" }), "transit/keys/app", "encrypt what lies elsewhere"),
        (json!({ "rotate": "value" }), "kv/app/none", "does not say how"),
    ] {
        let body = json!({ "custom_metadata": metadata });
        root.write("kv/metadata/app/key", &body).await.unwrap();
        let output = rotating.command(&[path]).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{path}");
        assert!(both(&output).contains(want), "{path}: {}", both(&output));
    }
}
