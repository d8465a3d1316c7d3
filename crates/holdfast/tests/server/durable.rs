//! What was acknowledged is on the disk.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_client::vault::VaultClient;
use holdfast_types::{Random, SystemRandom};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::process::Server;

/// How many clients write at a time.
const WRITERS: u64 = 8;

/// How often the server is killed; `cargo xtask prove server` sets the full number.
fn rounds() -> u64 {
    std::env::var("HOLDFAST_PROVE_SERVER_KILLS").map_or(8, |text| text.parse().unwrap())
}

/// The highest number that each writer was told is written.
type Acknowledged = Arc<Mutex<Vec<u64>>>;

/// Writes numbers until the server is gone.
async fn write(
    client: VaultClient,
    writer: u64,
    acknowledged: Acknowledged,
    written: Arc<AtomicU64>,
) {
    let mut number = acknowledged.lock().unwrap()[writer as usize];
    loop {
        number += 1;
        let body = json!({ "data": { "number": number } });
        let path = format!("kv/data/writer-{writer}/{}", number % 50);
        if client.write(&path, &body).await.is_err() {
            return;
        }
        acknowledged.lock().unwrap()[writer as usize] = number;
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_every_write_that_it_acknowledged() {
    let mut server = Server::new().await;
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    server.client().write("sys/mounts/kv", &mount).await.expect("mount kv");
    let acknowledged: Acknowledged = Arc::new(Mutex::new(vec![0; WRITERS as usize]));
    let mut total = 0;
    for round in 0..rounds() {
        let written = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (acknowledged, written) = (acknowledged.clone(), written.clone());
                tokio::spawn(write(server.client(), writer, acknowledged, written))
            })
            .collect();
        // Not before the writers are under way, and then at any moment.
        while written.load(Ordering::Relaxed) < WRITERS {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let [random] = SystemRandom.bytes::<1>();
        tokio::time::sleep(Duration::from_micros(u64::from(random) * 100)).await;
        server.kill();
        for writer in writers {
            writer.await.expect("a writer ends when the server does");
        }
        server.start().await;
        let client = server.client();
        for writer in 0..WRITERS {
            let number = acknowledged.lock().unwrap()[writer as usize];
            if number == 0 {
                continue;
            }
            let path = format!("kv/data/writer-{writer}/{}", number % 50);
            let reply = client.read(&path, &[]).await.expect("read").expect("is there");
            let found = reply.data.unwrap()["data"]["number"].as_u64().unwrap();
            // One write more may have landed without its answer coming through.
            assert!(
                found == number || found == number + 50,
                "round {round}: writer {writer} was told of {number}, the store has {found}"
            );
        }
        total += written.load(Ordering::Relaxed);
    }
    println!("{} kills, {total} acknowledged writes, none lost", rounds());
}

/// Under strace, an fdatasync that ended well stands between the replies to any two writes that
/// follow each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_acknowledged_before_it_is_synced() {
    let mut server = Server::new().await;
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    server.client().write("sys/mounts/kv", &mount).await.expect("mount kv");
    server.kill();
    let trace = server.folder().join("trace");
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-s", "16", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg"])
        .arg(env!("CARGO_BIN_EXE_holdfast"))
        .args(["vault", "server", "-config"])
        .arg(server.folder().join("server.hcl"));
    server.start_as(traced).await;
    let client = server.client();
    const WRITES: usize = 40;
    for number in 0..WRITES {
        let body = json!({ "data": { "number": number } });
        client.write("kv/data/traced", &body).await.expect("write");
    }
    // The server is strace's child: strace ends when it has.
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let traced = std::fs::read_to_string(children).expect("strace runs");
    let traced: i32 = traced.trim().parse().expect("strace has one child");
    kill(Pid::from_raw(traced), Signal::SIGTERM).expect("stop the server");
    server.wait();
    let trace = std::fs::read_to_string(&trace).expect("strace wrote");
    // The 200s before the writes' answered the health checks of the start.
    let started = trace.matches("HTTP/1.1 200").count() - WRITES;
    let mut synced = false;
    let mut replies = 0;
    for line in trace.lines() {
        let sync = line.contains("fdatasync(") || line.contains("fsync(");
        let resumed = line.contains("fdatasync resumed") || line.contains("fsync resumed");
        if (sync || resumed) && line.ends_with("= 0") {
            synced = true;
        }
        if line.contains("HTTP/1.1 200") {
            replies += 1;
            if replies > started {
                assert!(synced, "a reply without a sync before it: {line}");
            }
            synced = false;
        }
    }
    assert_eq!(replies, started + WRITES);
}
