use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use holdfast_types::{SystemClock, SystemRandom};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;
use crate::config::{self, ListenerConfig, Overrides};

/// A listener of defaults on a socket.
pub(super) fn unix(path: impl AsRef<Path>) -> ListenerConfig {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    let text = format!(
        r#"
        vault {{ address = "http://127.0.0.1:1" }}
        cache {{}}
        listener "unix" {{ address = "{}" }}
        "#,
        path.as_ref().display()
    );
    std::fs::write(&file, text).unwrap();
    let config = config::load(&[file], &Overrides::default()).unwrap();
    config.listeners.into_iter().next().unwrap()
}

/// What is answered to a question for the numbers, at once or not at all.
fn numbers(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /agent/v1/metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fills_one_listener_keeps_nobody_out_of_another() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 3 * limits::CONNECTIONS as u64;
    if most < wanted {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted.max(4096).min(most), most).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (open, own) = (folder.path().join("open.sock"), folder.path().join("own.sock"));
    let file = folder.path().join("agent.hcl");
    let text = format!(
        r#"
        vault {{ address = "http://127.0.0.1:1" }}
        cache {{}}
        listener "unix" {{ address = "{}" }}
        listener "unix" {{ address = "{}" }}
        "#,
        open.display(),
        own.display()
    );
    std::fs::write(&file, text).unwrap();
    let config = config::load(&[file], &Overrides::default()).unwrap();
    let shutdown = CancellationToken::new();
    let chance_and_time: (Arc<dyn Random>, Arc<dyn Clock>) =
        (Arc::new(SystemRandom), Arc::new(SystemClock));
    let proxy = Proxy::open(&config, None, chance_and_time, shutdown.clone()).await.unwrap();
    let serving = tokio::spawn(proxy.run());
    let told = tokio::task::spawn_blocking(move || {
        // Connections that ask nothing; each is taken before the next is made, or waits for ever.
        let idle: Vec<_> =
            (0..limits::CONNECTIONS).map(|_| UnixStream::connect(&open).unwrap()).collect();
        let told = numbers(&own);
        drop(idle);
        told
    });
    let told = told.await.unwrap().unwrap();
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    shutdown.cancel();
    serving.await.unwrap();
}
