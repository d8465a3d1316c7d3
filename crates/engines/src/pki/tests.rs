//! The engine as a whole, judged by openssl and rustls.

mod lifecycle;
mod verify;

use std::process::Command;
use std::sync::Arc;

use holdfast_logical::Operation::Update;
use holdfast_logical::testing::Mount;
use holdfast_types::Timestamp;
use serde_json::{Value, json};

use super::Pki;

/// A mount with a root `root.example`, a role `any` of this kind of key, and the clock at a time
/// that openssl takes for one.
async fn mount(key_type: &str) -> Mount {
    let mount = empty_mount().await;
    let root = json!({ "common_name": "root.example", "key_type": key_type, "ttl": "700h" });
    let role = json!({ "allow_any_name": true, "key_type": key_type, "ttl": "1h" });
    mount
        .walk(&[(Update, "root/generate/internal", root, 200), (Update, "roles/any", role, 200)])
        .await;
    mount
}

async fn empty_mount() -> Mount {
    let mount = Mount::new(&[], |context| Arc::new(Pki::new(context))).await;
    mount.clock.set(Timestamp::from_second(NOW).unwrap());
    mount
}

/// 2026-11-22
const NOW: i64 = 1_795_305_600;

/// What a request is answered, which must be a success.
async fn ask(mount: &Mount, path: &str, data: Value) -> Value {
    let (status, answer) = mount.ask(Update, path, data.clone()).await;
    assert!(status < 300, "{path} {data}: {status} {answer}");
    answer
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The body of a raw answer.
async fn raw(mount: &Mount, path: &str) -> Vec<u8> {
    let request = mount.request(holdfast_logical::Operation::Read, path, &json!({}));
    mount.put(&request).await.unwrap().unwrap().raw.unwrap().body
}

/// Runs the openssl command with files of these contents, `{0}` standing for the first. Gives what
/// it printed, and whether it was content.
fn openssl(arguments: &str, files: &[&[u8]]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("openssl");
    let paths: Vec<_> = (0..files.len()).map(|n| folder.path().join(n.to_string())).collect();
    for (path, contents) in paths.iter().zip(files) {
        std::fs::write(path, contents).unwrap();
    }
    for argument in arguments.split(' ') {
        let place = argument.strip_prefix('{').and_then(|a| a.strip_suffix('}'));
        match place.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => command.arg(&paths[number]),
            None => command.arg(argument),
        };
    }
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
