use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use holdfast_client::vault::VaultConfig;

use super::*;
use crate::session::Login;

fn sink(path: &Path, mode: u32) -> SinkConfig {
    let path = path.to_owned();
    SinkConfig { path, mode, uid: None, gid: None, wrap_ttl: None, encryption: None }
}

fn logged_in(token: &str) -> State {
    let config = VaultConfig::new("http://127.0.0.1:1".parse().unwrap());
    let client = VaultClient::new(&config).unwrap().with_token(Some(token.into()));
    State::LoggedIn(Login { generation: 1, client, accessor: "a".into(), expires: None })
}

async fn write(configs: &[SinkConfig], state: State) -> u64 {
    let (written, mut generation) = watch::channel(0);
    let sinks = Sinks::open(configs).unwrap();
    let task = tokio::spawn(sinks.run(Session::fixed(state), written));
    let generation = *generation.wait_for(|generation| *generation > 0).await.unwrap();
    task.abort();
    generation
}

#[tokio::test]
async fn a_sink_holds_the_token_alone_with_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // A link, as somebody might leave one to read or spoil what is written, is replaced.
    let victim = file("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, file("b")).unwrap();
    let sinks = [sink(&file("a"), 0o640), sink(&file("b"), 0o600)];
    assert_eq!(write(&sinks, logged_in("s.1")).await, 1);
    for (name, mode) in [("a", 0o640), ("b", 0o600)] {
        let metadata = fs::symlink_metadata(file(name)).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        assert_eq!(fs::read_to_string(file(name)).unwrap(), "s.1");
    }
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left");
}

#[tokio::test]
async fn a_wrapped_login_is_passed_on_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    let state = State::Wrapped { generation: 3, wrap_info: "{\"token\":\"s.w\"}\n".into() };
    assert_eq!(write(&[sink(&file, 0o600)], state).await, 3);
    assert_eq!(fs::read_to_string(file).unwrap(), "{\"token\":\"s.w\"}\n");
}

#[test]
fn a_sink_that_cannot_be_written_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("no/such/folder"), folder.path().to_owned()] {
        let error = Sinks::open(&[sink(&path, 0o600)]).err().unwrap();
        assert!(matches!(error, SinkError::Write { .. }), "{error}");
    }
}
