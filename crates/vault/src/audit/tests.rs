use std::fs;
use std::io::Read as _;
use std::sync::Arc;

use holdfast_barrier::{Entries, MemoryEntries};
use holdfast_logical::{Connection, MountInfo, Operation};
use holdfast_testkit::FakeClock;
use holdfast_types::{SecretString, SystemRandom, Timestamp};
use serde_json::{Value, json};

use super::*;

const ALL: Allowances = Allowances { creation_by_api: true, prefix: true, raw: true };

fn audit(allowances: Allowances) -> Audit {
    Audit::new(allowances, Arc::new(FakeClock::at(1_000_000)))
}

fn view(entries: &Arc<MemoryEntries>) -> View {
    View::new(Arc::clone(entries) as Arc<dyn Entries>, "core/audit/")
}

fn spec(name: &str, options: &[(&str, &str)]) -> DeviceSpec {
    DeviceSpec {
        path: format!("{name}/"),
        kind: "file".to_owned(),
        description: String::new(),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn request() -> RequestRecord {
    RequestRecord {
        time: Timestamp::from_second(1_000_000).unwrap(),
        id: "c0ffee".to_owned(),
        operation: Operation::Update,
        path: "kv/data/app".to_owned(),
        data: json!({"data": {"password": "hunter2", "n": 5, "list": ["x", true, null]}})
            .as_object()
            .unwrap()
            .clone(),
        mount: Some(Arc::new(MountInfo {
            path: "kv/".to_owned(),
            kind: "kv".to_owned(),
            accessor: "kv_1".to_owned(),
            ..MountInfo::default()
        })),
        connection: Connection {
            remote_address: Some([127, 0, 0, 1].into()),
            remote_port: 4711,
            ..Connection::default()
        },
        headers: BTreeMap::new(),
        shown: None,
        wrap_ttl: 0,
        auth: AuthRecord {
            client_token: Some(SecretString::from("s.topsecret")),
            accessor: "acc".to_owned(),
            display_name: "root".to_owned(),
            policies: vec!["root".to_owned()],
            token_policies: vec!["root".to_owned()],
            token_type: "service".to_owned(),
            token_issue_time: Some(Timestamp::from_millisecond(999_999_500).unwrap()),
            allowed: Some(true),
            granting_policies: vec!["root".to_owned()],
            ..AuthRecord::default()
        },
    }
}

async fn enabled(path: &std::path::Path, options: &[(&str, &str)]) -> Audit {
    let audit = audit(ALL);
    audit.load(view(&Arc::default()), &[], &SystemRandom).await.unwrap();
    let mut options = options.to_vec();
    options.push(("file_path", path.to_str().unwrap()));
    audit.enable(spec("main", &options), &SystemRandom).await.unwrap();
    audit
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_record_has_the_real_servers_shape_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/audit.log");
    let audit = enabled(&path, &[]).await;
    let request = request();
    audit.request(&request).await.unwrap();
    let response = ResponseRecord {
        data: Some(json!({"version": 1, "note": "hunter2"}).as_object().unwrap().clone()),
        lease_id: Some("database/creds/app/x".to_owned()),
        error: Some("boom".to_owned()),
        ..ResponseRecord::default()
    };
    audit.response(&request, &response).await.unwrap();

    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("topsecret"));
    let hash = |input: &str| audit.hash("main/", input).unwrap();
    let lines = lines(&path);
    assert_eq!(lines[0]["request"]["path"], "sys/audit/test");
    assert_eq!(
        lines[1],
        json!({
            "time": "1970-01-12T13:46:40Z",
            "type": "request",
            "auth": {
                "client_token": hash("s.topsecret"), "accessor": hash("acc"),
                "display_name": "root", "policies": ["root"], "token_policies": ["root"],
                "policy_results": {
                    "allowed": true,
                    "granting_policies": [{"name": "root", "namespace_id": "root", "type": "acl"}]
                },
                "token_type": "service", "token_issue_time": "1970-01-12T13:46:39Z"
            },
            "request": {
                "id": "c0ffee",
                "client_id": "0DHqvq2D77kL2/JTPSZkTMJbkFVmUu0TzMi0jiXcFy8=",
                "operation": "update",
                "mount_point": "kv/", "mount_type": "kv", "mount_accessor": "kv_1",
                "mount_class": "secret",
                "client_token": hash("s.topsecret"), "client_token_accessor": hash("acc"),
                "namespace": {"id": "root"}, "path": "kv/data/app",
                "data": {"data": {
                    "password": hash("hunter2"), "n": 5, "list": [hash("x"), true, null]
                }},
                "remote_address": "127.0.0.1", "remote_port": 4711
            }
        })
    );
    assert_eq!(lines[2]["type"], "response");
    assert_eq!(lines[2]["error"], "boom");
    assert_eq!(
        lines[2]["response"],
        json!({
            "mount_point": "kv/", "mount_type": "kv", "mount_accessor": "kv_1",
            "mount_class": "secret",
            "secret": {"lease_id": "database/creds/app/x"},
            "data": {"version": 1, "note": hash("hunter2")}
        })
    );
}

#[tokio::test]
async fn options_change_what_a_line_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let options = [("prefix", "@cee: "), ("hmac_accessor", "false"), ("mode", "0640")];
    let audit = enabled(&path, &options).await;
    audit.request(&request()).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().all(|line| line.starts_with("@cee: {")));
    assert!(text.contains("\"accessor\":\"acc\""));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn a_device_is_refused_by_the_rule_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a").to_str().unwrap().to_owned();
    let refusal = async |kind: &str, options: &[(&str, &str)], allowances| {
        let audit = audit(allowances);
        audit.load(view(&Arc::default()), &[], &SystemRandom).await.unwrap();
        let spec = DeviceSpec { kind: kind.to_owned(), ..spec("main", options) };
        audit.enable(spec, &SystemRandom).await.unwrap_err().to_string()
    };
    let api = Allowances { creation_by_api: true, ..Allowances::default() };
    for (kind, options, allowances, want) in [
        ("file", &[("file_path", file.as_str())][..], Allowances::default(), "via API"),
        ("syslog", &[], api, "unknown backend type: \"syslog\""),
        ("file", &[], api, "file_path is required"),
        ("file", &[("file_path", "discard")], api, "not supported"),
        ("file", &[("file_path", &file), ("mode", "9")], api, "octal"),
        ("file", &[("file_path", &file), ("log_raw", "true")], api, "in the clear"),
        ("file", &[("file_path", &file), ("prefix", "x")], api, "prefixing is not allowed"),
        ("file", &[("file_path", &file), ("hmac_acessor", "true")], api, "hmac_acessor"),
        ("file", &[("file_path", "/dev/full")], api, "No space left"),
    ] {
        let got = refusal(kind, options, allowances).await;
        assert!(got.contains(want), "{kind} {options:?}: {got}");
    }
}

#[tokio::test]
async fn one_device_that_writes_is_enough_and_none_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let full = spec("full", &[("file_path", "/dev/full")]);
    let good = spec("good", &[("file_path", path.to_str().unwrap())]);
    let missing = spec("gone", &[("file_path", "/proc/nowhere/audit.log")]);

    let audit = audit(ALL);
    audit.request(&request()).await.expect("without devices there is nothing to write");
    let entries = Arc::default();
    let declared = [full.clone(), good, missing.clone()];
    audit.load(view(&entries), &declared, &SystemRandom).await.unwrap();
    audit.request(&request()).await.expect("one of three writes");
    assert_eq!(lines(&path).len(), 1);

    audit.load(view(&entries), &[full, missing], &SystemRandom).await.unwrap();
    assert_eq!(audit.list().len(), 2);
    audit.request(&request()).await.unwrap_err();
    audit.response(&request(), &ResponseRecord::default()).await.unwrap_err();
}

#[tokio::test]
async fn devices_and_their_keys_outlive_a_seal() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let entries = Arc::default();
    let audit = audit(ALL);
    let declared = [spec("declared", &[("file_path", &file("a"))])];
    audit.load(view(&entries), &declared, &SystemRandom).await.unwrap();
    audit.enable(spec("made", &[("file_path", &file("b"))]), &SystemRandom).await.unwrap();
    let again = audit.enable(spec("made/below", &[("file_path", &file("c"))]), &SystemRandom);
    assert!(matches!(again.await, Err(DeviceError::InUse)));
    let hashes = ["declared/", "made/"].map(|path| audit.hash(path, "x").unwrap());
    assert_ne!(hashes[0], hashes[1], "each device has a key of its own");

    audit.unload();
    assert!(audit.list().is_empty());
    assert!(matches!(audit.hash("made/", "x"), Err(DeviceError::Unknown(_))));
    audit.load(view(&entries), &declared, &SystemRandom).await.unwrap();
    assert_eq!(["declared/", "made/"].map(|path| audit.hash(path, "x").unwrap()), hashes);

    assert!(matches!(audit.disable("declared/").await, Err(DeviceError::Declared)));
    audit.disable("made/").await.unwrap();
    audit.disable("never/").await.unwrap();
    audit.load(view(&entries), &[], &SystemRandom).await.unwrap();
    assert!(audit.list().is_empty(), "a device that is declared no longer is gone");
}

#[tokio::test]
async fn a_moved_file_is_left_behind_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let audit = enabled(&path, &[]).await;
    fs::rename(&path, &moved).unwrap();
    audit.request(&request()).await.unwrap();
    assert_eq!(lines(&moved).len(), 2);
    audit.reopen();
    audit.request(&request()).await.unwrap();
    assert_eq!((lines(&moved).len(), lines(&path).len()), (2, 1));
}

#[test]
fn lines_that_wait_are_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = file::LogFile::new(options::Target::File { path: path.clone(), mode: None });
    let [first, second] = ["a\n", "b\n"].map(|line| file.queue(line.as_bytes()));
    assert!(!path.exists());
    file.write(&second).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    file.write(&first).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");

    let full = options::Target::File { path: "/dev/full".into(), mode: None };
    let full = file::LogFile::new(full);
    let [first, second] = ["a\n", "b\n"].map(|line| full.queue(line.as_bytes()));
    full.write(&first).unwrap_err();
    full.write(&second).expect_err("neither was written");
}

#[test]
fn lines_of_many_threads_stay_whole_and_in_the_order_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let target = options::Target::File { path: path.clone(), mode: None };
    let file = file::LogFile::new(target);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let file = &file;
            scope.spawn(move || {
                for number in 0..500 {
                    let line = file.queue(format!("{thread} {number}\n").as_bytes());
                    file.write(&line).unwrap();
                }
            });
        }
    });
    let mut text = String::new();
    fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    let mut next = [0; 8];
    for line in text.lines() {
        let (thread, number) = line.split_once(' ').unwrap();
        let thread: usize = thread.parse().unwrap();
        assert_eq!(number, next[thread].to_string());
        next[thread] += 1;
    }
    assert_eq!(next, [500; 8]);
}
