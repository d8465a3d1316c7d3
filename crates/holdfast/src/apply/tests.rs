//! One platform directory against an engine of maps.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use async_trait::async_trait;
use holdfast_client::vault::Method;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::desired::DesiredError;
use super::record::Applied;
use super::run::ApplyError;
use super::*;

/// An engine that keeps what it is given, and answers as a real one: mounts by their own rules,
/// durations in seconds, no passwords.
#[derive(Default)]
struct FakeEngine {
    objects: Mutex<BTreeMap<String, Map<String, Value>>>,
    writes: Mutex<Vec<String>>,
}

#[async_trait]
impl Engine for FakeEngine {
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), EngineError> {
        if path.starts_with("sys/health") {
            return Ok((200, json!({ "cluster_id": "fake" })));
        }
        let mut objects = self.objects.lock().unwrap();
        if method != Method::GET {
            self.writes.lock().unwrap().push(format!("{method} {path}"));
        }
        let mount = path.starts_with("sys/mounts/");
        match method {
            Method::GET => match objects.get(path) {
                Some(fields) => {
                    let mut fields = fields.clone();
                    fields.remove("password");
                    Ok((200, json!({ "data": fields })))
                }
                None if mount => Ok((400, json!({ "errors": ["No secret engine mount"] }))),
                None => Ok((404, json!({ "errors": [] }))),
            },
            Method::DELETE => {
                objects.remove(path);
                Ok((204, Value::Null))
            }
            _ => {
                if mount && objects.contains_key(path) {
                    return Ok((400, json!({ "errors": ["path is already in use"] })));
                }
                let target = path.strip_suffix("/tune").unwrap_or(path).to_owned();
                let mut fields = body.unwrap().as_object().unwrap().clone();
                for (name, value) in &mut fields {
                    if name.ends_with("ttl") && *value == json!("1h") {
                        *value = json!(3600);
                    }
                }
                objects.entry(target).or_default().extend(fields);
                Ok((204, Value::Null))
            }
        }
    }
}

struct Platform {
    folder: TempDir,
    engine: FakeEngine,
    shared: bool,
}

impl Platform {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let platform = Self { folder, engine: FakeEngine::default(), shared: false };
        for (name, text) in files {
            platform.write(name, text);
        }
        platform
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join("platform").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join("platform").join(name)).unwrap();
    }

    fn desired(&self) -> Result<Desired, DesiredError> {
        let facts = Facts(BTreeMap::from([("postgres.port".into(), "5432".into())]));
        Desired::read(&self.folder.path().join("platform"), &facts)
    }

    async fn run(&self, apply: bool) -> Result<Vec<(ChangeKind, String)>, ApplyError> {
        self.run_with(apply, &NoHooks).await
    }

    async fn run_with(
        &self,
        apply: bool,
        hooks: &dyn Hooks,
    ) -> Result<Vec<(ChangeKind, String)>, ApplyError> {
        let record = self.folder.path().join("applied.json");
        let applier = Applier {
            engine: &self.engine,
            record: &record,
            hooks,
            shared: self.shared,
            adopt: false,
            delete_data: false,
        };
        let desired = self.desired().unwrap();
        let report = if apply {
            applier.apply(&desired, &|_| {}).await?
        } else {
            applier.plan(&desired).await?
        };
        Ok(report.changes.into_iter().map(|change| (change.kind, change.path)).collect())
    }
}

const FILES: &[(&str, &str)] = &[
    ("vault/sys/mounts/kv.json", r#"{"type": "kv", "options": {"version": "2"}}"#),
    ("vault/database/roles/app.json", r#"{"db_name": "app", "default_ttl": "1h"}"#),
    (
        "vault/database/config/app.json",
        r#"{"plugin_name": "p", "connection_url": "host:${postgres.port}"}"#,
    ),
    ("policies/app.hcl", r#"path "kv/data/app" { capabilities = ["read"] }"#),
];

#[tokio::test]
async fn a_second_apply_changes_nothing() {
    let platform = Platform::new(FILES);
    let made = platform.run(true).await.unwrap();
    let paths: Vec<_> = made.iter().map(|(_, path)| path.as_str()).collect();
    let order =
        ["sys/mounts/kv", "sys/policies/acl/app", "database/config/app", "database/roles/app"];
    assert_eq!(paths, order, "what others need comes first");
    assert!(made.iter().all(|(kind, _)| *kind == ChangeKind::Create));
    assert_eq!(platform.run(true).await.unwrap(), []);
    let objects = platform.engine.objects.lock().unwrap();
    assert_eq!(objects["database/config/app"]["connection_url"], "host:5432");
}

#[tokio::test]
async fn a_changed_file_and_drift_are_told_apart_and_mended() {
    let platform = Platform::new(FILES);
    platform.run(true).await.unwrap();
    platform.write("vault/database/roles/app.json", r#"{"db_name": "app", "default_ttl": "2h"}"#);
    platform
        .engine
        .objects
        .lock()
        .unwrap()
        .get_mut("sys/policies/acl/app")
        .unwrap()
        .insert("policy".into(), json!("path \"*\" {}"));
    platform.engine.objects.lock().unwrap().remove("sys/mounts/kv");
    let want = [
        (ChangeKind::Mend, "sys/mounts/kv".to_owned()),
        (ChangeKind::Mend, "sys/policies/acl/app".to_owned()),
        (ChangeKind::Change, "database/roles/app".to_owned()),
    ];
    assert_eq!(platform.run(false).await.unwrap(), want);
    assert_eq!(platform.run(true).await.unwrap(), want);
    assert_eq!(platform.run(true).await.unwrap(), []);
}

#[tokio::test]
async fn a_mount_is_tuned_and_its_type_stays() {
    let platform = Platform::new(FILES);
    platform.run(true).await.unwrap();
    let tuned = r#"{"type": "kv", "options": {"version": "2"}, "description": "apps"}"#;
    platform.write("vault/sys/mounts/kv.json", tuned);
    assert_eq!(platform.run(true).await.unwrap().len(), 1);
    let last = platform.engine.writes.lock().unwrap().last().cloned();
    assert_eq!(last.as_deref(), Some("POST sys/mounts/kv/tune"));
    platform.write("vault/sys/mounts/kv.json", r#"{"type": "transit"}"#);
    let error = platform.run(true).await.unwrap_err().to_string();
    assert!(error.contains("cannot become"), "{error}");
}

#[tokio::test]
async fn what_is_removed_from_the_directory_is_removed_from_the_engine_but_data_is_not() {
    let platform = Platform::new(FILES);
    platform.run(true).await.unwrap();
    platform.remove("policies/app.hcl");
    let want = [(ChangeKind::Remove, "sys/policies/acl/app".to_owned())];
    assert_eq!(platform.run(true).await.unwrap(), want);
    platform.remove("vault/sys/mounts/kv.json");
    let error = platform.run(true).await.unwrap_err();
    assert!(matches!(error, ApplyError::DeletesData { .. }), "{error}");
    assert!(platform.engine.objects.lock().unwrap().contains_key("sys/mounts/kv"));
}

#[tokio::test]
async fn a_strangers_objects_are_left_alone() {
    let mut platform = Platform::new(FILES);
    platform.shared = true;
    let theirs = json!({"policy": "path \"theirs\" {}"}).as_object().unwrap().clone();
    platform.engine.objects.lock().unwrap().insert("sys/policies/acl/app".into(), theirs.clone());
    platform.engine.objects.lock().unwrap().insert("sys/policies/acl/other".into(), theirs);
    let error = platform.run(true).await.unwrap_err();
    assert!(matches!(&error, ApplyError::Conflict { paths } if paths == &["sys/policies/acl/app"]));
    assert_eq!(*platform.engine.writes.lock().unwrap(), Vec::<String>::new());
}

/// Gives a password once, and fails after the object was made the first time.
struct FailingOnce(Mutex<u32>);

#[async_trait]
impl Hooks for FailingOnce {
    async fn secret_fields(&self, path: &str) -> anyhow::Result<Map<String, Value>> {
        let mut fields = Map::new();
        if path == "database/config/app" {
            *self.0.lock().unwrap() += 1;
            fields.insert("password".into(), json!("first"));
        }
        Ok(fields)
    }

    fn completes(&self, path: &str) -> bool {
        path == "database/config/app"
    }

    async fn made(&self, path: &str, _engine: &dyn Engine) -> anyhow::Result<()> {
        anyhow::ensure!(path != "database/config/app" || *self.0.lock().unwrap() > 1, "crash");
        Ok(())
    }
}

#[tokio::test]
async fn an_object_that_was_not_finished_is_made_again() {
    let platform = Platform::new(FILES);
    let hooks = FailingOnce(Mutex::new(0));
    platform.run_with(true, &hooks).await.unwrap_err();
    assert!(!platform.run_with(true, &hooks).await.unwrap().is_empty());
    assert_eq!(*hooks.0.lock().unwrap(), 2, "the password was given again");
    assert_eq!(platform.run_with(true, &hooks).await.unwrap(), []);
    let record = fs::read_to_string(platform.folder.path().join("applied.json")).unwrap();
    assert!(!record.contains("first"));
}

#[test]
fn files_that_do_not_belong_are_refused_by_name() {
    for (name, text, want) in [
        ("vault/kv/data/app.json", "{}", "secrets do not belong"),
        ("vault/auth/approle/login.json", "{}", "acts each time"),
        ("vault/sys/policies/acl/x.json", "{}", "policies/<name>.hcl"),
        ("vault/sys/mounts/kv.json", "[]", "not a JSON object"),
        ("vault/a/config.json", r#"{"x": "${nope}"}"#, "config.json"),
    ] {
        let platform = Platform::new(&[(name, text)]);
        let error = platform.desired().unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn the_least_policy_names_the_directorys_paths_and_no_others() {
    let platform = Platform::new(FILES);
    let desired = platform.desired().unwrap();
    let policy = least_policy(&desired, None);
    for path in
        ["sys/mounts/kv", "sys/mounts/kv/tune", "database/reset/app", "database/rotate-root/app"]
    {
        assert!(policy.contains(&format!("path {path:?}")), "{policy}");
    }
    assert!(!policy.contains('*'));
    let mut record = Record::new("engine");
    record.objects.insert("sys/auth/old".to_owned(), Applied::default());
    let more = least_policy(&desired, Some(&record));
    let removal = "path \"sys/auth/old\" {\n  capabilities = [\"delete\", \"sudo\"]\n}\n\n";
    assert_eq!(more.replace(removal, ""), policy);
    assert_ne!(more, policy);
}
