//! One file, run by our agent and by the real one, against both servers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// The shape of what a run leaves: each file's mode, and its text with what differs by chance taken
/// out.
async fn shapes(scene: &Scene, names: &[&str]) -> Vec<String> {
    let mut shapes = Vec::new();
    for name in names {
        let mode = fs::metadata(scene.at(name)).unwrap().permissions().mode() & 0o777;
        let text = scene.read(name);
        let shape = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(mut fields)) => {
                for chance in ["token", "accessor", "creation_time"] {
                    let value = fields.insert(chance.to_owned(), "?".into());
                    assert!(value.is_some_and(|value| value.as_str() != Some("")), "{text}");
                }
                format!("{:?} newline: {}", fields, text.ends_with('\n'))
            }
            _ => {
                let found = scene.look_up(&text).await.expect("a token that works");
                format!("token of {} for {}", found["path"], found["policies"])
            }
        };
        shapes.push(format!("{name} {mode:o}: {shape}"));
    }
    shapes
}

#[tokio::test]
async fn the_same_file_gives_the_same_sinks() {
    const FILE: &str = r#"
        pid_file = "FOLDER/pid"
        exit_after_auth = true
        auto_auth {
          method {
            type = "approle"
            mount_path = "auth/approle/"
            min_backoff = "1s"
            config = {
              role_id_file_path = "FOLDER/role-id"
              secret_id_file_path = "FOLDER/secret-id"
              remove_secret_id_file_after_reading = "false"
            }
          }
          sink { type = "file" config = { path = "FOLDER/plain" } }
          sink "file" { config { path = "FOLDER/closed" mode = 0600 } }
          sink "file" { wrap_ttl = "5m" config = { path = "FOLDER/wrapped" mode = 0644 } }
        }
        cache {}
        api_proxy { use_auto_auth_token = true }
        listener "unix" { address = "FOLDER/agent.sock" tls_disable = true }
        template_config { static_secret_render_interval = "10m" }
        disable_keep_alives = ["auto-auth"]
        telemetry { disable_hostname = true }
    "#;
    let names = ["plain", "closed", "wrapped"];
    let mut all = Vec::new();
    for scene in Scene::both().await {
        scene.put_ids().await;
        let config = scene.configure("a.hcl", FILE);
        for real in [false, true] {
            for name in names {
                let _ = fs::remove_file(scene.at(name));
            }
            let mut agent = match real {
                false => scene.start(&config, &[]),
                true => scene.start_real(&config, &[]),
            };
            assert!(agent.end().await.success(), "{}", agent.said());
            all.push(shapes(&scene, &names).await);
            assert!(!scene.at("pid").exists());
        }
    }
    let first = &all[0];
    assert!(first[0].starts_with("plain 640: token of \"auth/approle/login\""), "{first:?}");
    for other in &all[1..] {
        assert_eq!(other, first);
    }
}
