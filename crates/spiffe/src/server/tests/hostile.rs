//! Callers who go away, answers that are lost, disks that are full.

use async_trait::async_trait;
use holdfast_barrier::{Batch, Entries, MemoryEntries};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::*;

/// A store whose answers to a commit can be held back: what was committed stays so, whether or not
/// anybody waits for the answer.
pub(super) struct Gated {
    inner: MemoryEntries,
    gate: Semaphore,
    reached: Notify,
}

impl Default for Gated {
    fn default() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { inner: MemoryEntries::default(), gate, reached: Notify::new() }
    }
}

#[async_trait]
impl Entries for Gated {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        self.inner.get(key).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.inner.list_page(prefix, after, limit).await
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.inner.scan(prefix).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        self.inner.commit(batch).await?;
        self.reached.notify_waiters();
        let _open = self.gate.acquire().await;
        Ok(())
    }
}

/// Asks, and goes away once the store has it and before the server knows.
async fn ask_and_leave(entries: &Gated, call: impl Future<Output: std::fmt::Debug>) {
    let held = entries.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut reached = std::pin::pin!(entries.reached.notified());
    // From now on: what was committed before does not count.
    reached.as_mut().enable();
    tokio::select! {
        answer = call => panic!("it was answered: {answer:?}"),
        () = reached => {}
    }
    // The server hears of it before the store answers.
    tokio::time::sleep(Duration::from_millis(100)).await;
    entries.gate.add_permits(held);
}

#[tokio::test]
async fn what_an_operator_asked_for_is_in_force_though_they_have_gone() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut operator = admin(&running.socket());
    let mut entry = operator.create_entry(wanted("backend", 1)).await.unwrap().into_inner();
    until(&source, |now| now.entries.len() == 1).await;

    entry.spiffe_id = "spiffe://demo.local/other".to_owned();
    ask_and_leave(&running.entries, operator.update_entry(entry.clone())).await;
    until(&source, |now| now.entries.iter().all(|one| one.spiffe_id.path() == "/other")).await;

    let id = entry.id.clone();
    let gone = operator.delete_entry(wire::DeleteEntryRequest { entry_id: id });
    ask_and_leave(&running.entries, gone).await;
    until(&source, |now| now.entries.is_empty()).await;
}

#[tokio::test]
async fn an_agent_whose_renewals_are_lost_keeps_the_svid_that_it_has() {
    let running = Running::start().await;
    let mut operator = admin(&running.socket());
    let request = wire::GenerateTokenRequest { ttl: 60, ..Default::default() };
    let token = operator.generate_token(request).await.unwrap().into_inner().token;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let joined = crate::join::join(joining(&running, "a", Some(&token)), clock).await.unwrap();
    let id = joined.spiffe_id.clone();
    drop(joined);
    let channel = crate::join::known(joining(&running, "a", None));
    let mut agent = wire::node_client::NodeClient::new(channel);
    for attempt in 0..5 {
        // Whatever the server answers does not arrive.
        let renewed = agent.renew(wire::RenewRequest { csr: csr().1 }).await;
        assert!(renewed.is_ok(), "attempt {attempt} of {id}: {renewed:?}");
    }
}

/// A file system of 64 KB; none where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path());
        mount.output().unwrap().status.success().then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = std::process::Command::new("umount");
        let _ = unmount.arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn nothing_is_issued_that_is_not_audited() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let mut running = Running::start().await;
    let (log, place) = (running.directory.path().join("audit.log"), disk.0.path().join("log"));
    running.stop().await;
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&place, &log).unwrap();
    running.restart().await;
    let source = RemoteSource::unix(&running.socket());
    let mut operator = admin(&running.socket());
    let entry = operator.create_entry(wanted("backend", 1)).await.unwrap().into_inner();
    until(&source, |now| now.entries.len() == 1).await;

    let filled = disk.0.path().join("fill");
    let full = std::fs::write(&filled, vec![0; 64 << 10]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    // What is left of the last page of the log.
    let room = 4096 - std::fs::metadata(&place).unwrap().len() % 4096;
    let mut lines = std::fs::OpenOptions::new().append(true).open(&place).unwrap();
    io::Write::write_all(&mut lines, &vec![b'\n'; room as usize]).unwrap();
    let refused = |code: tonic::Code| assert_eq!(code, tonic::Code::Unavailable);
    source.mint_x509(&entry.id, &csr().1).await.unwrap_err();
    source.mint_jwt(&entry.id, &["vault".to_owned()]).await.unwrap_err();
    let request = wire::GenerateTokenRequest { ttl: 60, ..Default::default() };
    refused(operator.generate_token(request.clone()).await.unwrap_err().code());
    refused(operator.create_entry(wanted("other", 2)).await.unwrap_err().code());
    let mint = wire::MintJwtSvidRequest {
        spiffe_id: "spiffe://demo.local/backend".to_owned(),
        audience: vec!["vault".to_owned()],
        ttl: 60,
    };
    refused(operator.mint_jwt_svid(mint).await.unwrap_err().code());

    std::fs::remove_file(filled).unwrap();
    operator.generate_token(request).await.unwrap();
    source.mint_x509(&entry.id, &csr().1).await.unwrap();
    assert!(until(&source, |_| true).await.entries.len() == 1, "the other was not made");
    running.stop().await;
}

#[tokio::test]
async fn a_join_token_lets_in_one_of_many_who_come_at_once() {
    let running = Running::start().await;
    let mut operator = admin(&running.socket());
    let request = wire::GenerateTokenRequest { ttl: 60, ..Default::default() };
    let token = operator.generate_token(request).await.unwrap().into_inner().token;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..20 {
        let settings = joining(&running, &format!("agent{index}"), Some(&token));
        tasks
            .spawn(async move { crate::join::join(settings, Arc::new(SystemClock)).await.is_ok() });
    }
    let joined = tasks.join_all().await.into_iter().filter(|has_joined| *has_joined).count();
    assert_eq!(joined, 1);
    let request = wire::GenerateTokenRequest { ttl: 1, ..Default::default() };
    let short = operator.generate_token(request).await.unwrap().into_inner();
    while SystemClock.now().as_second() < short.expires_at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let late = joining(&running, "late", Some(&short.token));
    assert!(crate::join::join(late, Arc::new(SystemClock)).await.is_err(), "it has ended");
    let audited = running.audited();
    assert!(!audited.contains(&token) && !audited.contains(&short.token));
}

#[test]
fn a_line_that_a_full_disk_broke_off_spoils_no_other() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let path = disk.0.path().join("audit.log");
    let audit = Audit::open(Some(&path), Arc::new(SystemClock)).unwrap();
    audit.write("before", "test", &serde_json::Value::Null, None).unwrap();
    let filled = disk.0.path().join("fill");
    let full = std::fs::write(&filled, vec![0; 56 << 10]);
    assert!(full.is_ok(), "{full:?}");
    let long = serde_json::json!("x".repeat(32 << 10));
    audit.write("long", "test", &long, None).expect_err("there is no room");
    std::fs::remove_file(filled).unwrap();
    audit.write("after", "test", &serde_json::Value::Null, None).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let callers = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["caller"].as_str().map(str::to_owned)
    });
    assert_eq!(callers.collect::<Vec<_>>(), ["before", "after"], "{} bytes", text.len());
}
