//! A full disk: warned of before, and a way out after.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Server;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the server is told to set aside.
const RESERVE: u64 = 1 << 20;

/// A file system of 32 MB.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(folder.path()).output().unwrap();
        mounted.status.success().then(|| Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let filled = fs::write(self.path("fill"), vec![0; 64 << 20]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// `holdfast recover space` of the server in `folder`.
fn recover(folder: &Path, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(["recover", "space"]).arg(folder.join("server.hcl")).args(more);
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Waits for a line with `text` in the server's log.
async fn until_logged(server: &Server, text: &str) {
    let start = Instant::now();
    while !fs::read_to_string(server.log()).unwrap().contains(text) {
        assert!(start.elapsed() < PATIENCE, "no {text:?} in:\n{}", server.tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_full_disk_is_warned_of_and_its_reserve_is_a_way_out() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let mut server = Server::on_disk(disk.0.path(), RESERVE).await;
    let reserve = disk.path("vault.db.reserve");
    let held = fs::metadata(&reserve).expect("the reserve is made");
    assert_eq!((held.len(), held.blocks() * 512), (RESERVE, RESERVE), "not sparse");
    assert_eq!(held.mode() & 0o777, 0o600);

    let client = server.client();
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    client.write("sys/mounts/kv", &mount).await.expect("mount kv");
    let body = json!({ "data": { "a": "1" } });
    client.write("kv/data/before", &body).await.expect("written while there is room");

    // What is left in the files' last blocks is soon used up.
    disk.fill();
    let start = Instant::now();
    let error = loop {
        match client.write("kv/data/app", &body).await {
            Err(error) => break error,
            Ok(_) => assert!(start.elapsed() < PATIENCE, "still served"),
        }
    };
    assert_eq!(error.status(), Some(500), "{error}");
    client.read("kv/data/before", &[]).await.expect_err("not written down, not served");

    let freed: Value = serde_json::from_str(&recover(server.folder(), &["--output=json"])).unwrap();
    let files = json!([{ "path": &reserve, "freed_bytes": RESERVE }]);
    assert_eq!(freed, json!({ "freed_bytes": RESERVE, "files": files }));
    client.write("kv/data/app", &body).await.expect("written without a restart");
    assert!(client.read("kv/data/before", &[]).await.expect("served").is_some());
    let again = recover(server.folder(), &[]);
    assert!(again.starts_with("nothing to free: "), "{again}");

    // The next start finds a disk that is nearly full, and leaves what is left of it alone.
    server.kill();
    server.start().await;
    until_logged(&server, "the disk of the store and audit device file/ is ").await;
    until_logged(&server, "no room is set aside for when the disk is full").await;
    assert!(!reserve.exists());

    // With room again it makes another; that of a stopped server is freed as well.
    fs::remove_file(disk.path("fill")).unwrap();
    server.kill();
    server.start().await;
    assert_eq!(fs::metadata(&reserve).expect("made again").len(), RESERVE);
    server.kill();
    let told = recover(server.folder(), &[]);
    assert!(told.starts_with(&format!("freed {RESERVE} bytes: removed ")), "{told}");
}

/// Audit logs have a disk of their own where one is careful; it is the one that fills up.
#[tokio::test]
async fn the_disk_of_an_audit_log_has_a_reserve_of_its_own() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let mut server = Server::audited_on(disk.0.path(), RESERVE).await;
    // At a start its disk is looked at first; in a server that runs, within a minute.
    server.kill();
    server.start().await;
    let reserve = disk.path("audit.log.reserve");
    let start = Instant::now();
    while fs::metadata(&reserve).map_or(0, |made| made.blocks() * 512) < RESERVE {
        assert!(start.elapsed() < PATIENCE, "no reserve:\n{}", server.tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let client = server.client();
    disk.fill();
    // What is left in the file's last block is soon used up.
    let start = Instant::now();
    while client.token_lookup_self().await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "still served");
    }
    let told = recover(server.folder(), &[]);
    assert!(told.contains(&format!("removed {}\n", reserve.display())), "{told}");
    client.token_lookup_self().await.expect("served without a restart");
    server.kill();
}
