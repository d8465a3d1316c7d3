//! Services have identities of their own, from what the kernel knows of them: stock clients fetch them
//! as the service they are, and nobody else gets one.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::delivery::pid;
use crate::renewal::served;
use crate::secret_zero::assert_only_the_seal_key;
use crate::world::{Who, World, both, wait_for};

/// A service on the stock clients of Python, which tells what it got at each start: its SVIDs, and for
/// each of the two ways to log in who it is then, and a database user.
const PYTHON: &str = r#"
import json, os, signal
import hvac
from spiffe import WorkloadApiClient

def in_memory(pem):
    file = os.memfd_create("svid")
    os.write(file, pem)
    return f"/proc/self/fd/{file}"

with WorkloadApiClient() as client:
    svids = client.fetch_x509_svids()
    token = client.fetch_jwt_svid(audience={"vault"})
told = {"pid": os.getpid(), "x509": [str(svid.spiffe_id) for svid in svids], "jwt": str(token.spiffe_id)}

address, authority = os.environ["ADDRESS"], os.environ["AUTHORITY"]
by_token = hvac.Client(url=address, verify=authority)
by_token.auth.jwt.jwt_login(role="python", jwt=token.token, path=os.environ["JWT"])
clients = [by_token]
if os.environ["CERTIFICATE"]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    svid = svids[0]
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in svid.cert_chain)
    key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain, key = in_memory(chain), in_memory(key)
    by_certificate = hvac.Client(url=address, verify=authority, cert=(chain, key))
    by_certificate.auth.cert.login(
        name="python", cert_pem=chain, key_pem=key, mount_point=os.environ["CERTIFICATE"])
    clients.append(by_certificate)
told["logins"] = [client.auth.token.lookup_self()["data"]["meta"]["spiffe_id"] for client in clients]
users = [client.read("database/creds/backend-role")["data"]["username"] for client in clients]
told["users"] = len(set(users))

path = os.environ["STATE_DIRECTORY"] + "/told.json"
with open(path + ".new", "w") as file:
    json.dump(told, file)
os.rename(path + ".new", path)
signal.pause()
"#;

/// `CERTIFICATE` is where it logs in by one, or nothing.
const CONFIG: &str = "\
[spiffe]\nnamespace = \"99-apps\"\n\
[services.python]\ncommand = [\"venv/bin/python\", \"service.py\"]\npolicies = [\"python\"]\n\
needs = [\"vault\", \"postgres\"]\n\
[services.python.environment]\nADDRESS = \"${vault.address}\"\nAUTHORITY = \"${ca.file}\"\n\
JWT = \"${vault.login.jwt}\"\nCERTIFICATE = \"BY_CERTIFICATE\"\n\
[services.rust]\ncommand = [\"./rust\", \"identity::as_a_service\", \"--exact\", \"--ignored\"]\n";

const POLICY: &str = "path \"database/creds/backend-role\" { capabilities = [\"read\"] }\n";

#[test]
fn on_a_managed_engine_services_log_in_by_token() {
    let world = World::managed(Who::Caller);
    install(&world, Who::Caller);
    world.write_config(&format!("{}{CONFIG}", world.config()).replace("BY_CERTIFICATE", ""));
    world.up();
    assert_logged_in(&world, 1);
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

#[test]
fn services_are_who_they_are_and_nobody_else_is_anybody() {
    for who in Who::all() {
        identities(&World::embedded(who), who);
    }
}

/// What the service `rust` runs.
#[tokio::test]
#[ignore = "a service of another test"]
async fn as_a_service() {
    let client = spiffe::WorkloadApiClient::connect_env().await.unwrap();
    let x509 = client.fetch_all_x509_svids().await.unwrap();
    let x509: Vec<_> = x509.iter().map(|svid| svid.spiffe_id().to_string()).collect();
    let token = client.fetch_jwt_svid(["vault"], None).await.unwrap();
    let jwt = token.spiffe_id().to_string();
    let told = serde_json::json!({ "pid": std::process::id(), "x509": x509, "jwt": jwt });
    let directory = PathBuf::from(std::env::var_os("STATE_DIRECTORY").unwrap());
    fs::write(directory.join("new"), told.to_string()).unwrap();
    fs::rename(directory.join("new"), directory.join("told.json")).unwrap();
    std::future::pending::<()>().await;
}

fn identities(world: &World, who: Who) {
    install(world, who);
    let config = CONFIG.replace("BY_CERTIFICATE", "${vault.login.cert}");
    world.write_config(&format!("{}{config}", world.config()));
    world.up();
    assert_logged_in(world, 2);
    assert_only_the_seal_key(world);
    let status = world.status();
    assert!(status["worst"].is_null(), "{status}");
    for name in ["python", "rust"] {
        wait_for(|| told(world, name).is_some());
        let id = format!("spiffe://demo.local/ns/99-apps/sa/{name}");
        let told = told(world, name).unwrap();
        assert_eq!((&told["x509"], &told["jwt"]), (&serde_json::json!([id]), &id.as_str().into()));
    }

    // Whoever is no service is told so, and the operator why.
    let refused = api(world);
    assert!(!refused.status.success());
    let said = both(&refused);
    let (_, id) = said.split_once("no identity issued (explain ").unwrap();
    let (id, _) = id.split_once(')').unwrap();
    let why = world.succeed(&mut spiffe(world, &["explain", "-id", id]));
    assert!(why.contains("no identity: none of 5 entries matches"), "{why}");
    assert!(why.contains("wants holdfast:service:"), "{why}");
    let why = world.succeed(&mut spiffe(world, &["explain", "rust"]));
    assert!(why.contains("spiffe://demo.local/ns/99-apps/sa/rust"), "{why}");
    let shown = world.succeed(&mut spiffe(world, &["show", "python"]));
    assert!(shown.contains("SPIFFE ID   spiffe://demo.local/ns/99-apps/sa/python"), "{shown}");
    assert!(!shown.contains("/rust") && !shown.contains("PRIVATE"), "{shown}");

    // A killed agent is started again, and told of all.
    let killed = pid(world, "spiffe-agent").unwrap();
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    wait_for(|| pid(world, "spiffe-agent").is_some_and(|pid| pid != killed));
    let explained = || spiffe(world, &["explain", "rust"]).output().unwrap();
    wait_for(|| explained().status.success());
    let why = both(&explained());
    assert!(why.contains("spiffe://demo.local/ns/99-apps/sa/rust"), "{why}");

    the_parts_follow_their_authority(world);

    // A rule is in force when its apply is done, and is taken back with its file.
    assert!(world.run("plan", &[]).starts_with("0 changes"));
    let rules = world.platform().join("identity");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("rust.yaml"), RULE).unwrap();
    let applied = world.run("apply", &[]);
    assert!(applied.contains("identity/teams/one/rust"), "{applied}");
    assert!(applied.contains("identity/ns/99-apps/sa/rust"), "{applied}");
    let why = both(&explained());
    assert!(why.contains("spiffe://demo.local/teams/one/rust"), "{why}");
    assert!(!why.contains("  spiffe://demo.local/ns/99-apps/sa/rust (entry"), "{why}");
    let said = || world.fail(&mut world.verb("apply", &[]));
    fs::write(rules.join("wrong.yaml"), RULE.replace("ClusterSPIFFEID", "ClusterSpiffeId"))
        .unwrap();
    assert!(said().contains("identity/wrong.yaml:2"), "{}", said());
    let reserved = RULE.replace("/teams/one/", "/holdfast/").replace("rust-of", "of");
    fs::write(rules.join("wrong.yaml"), reserved).unwrap();
    assert!(said().contains("is for the platform's own parts"), "{}", said());
    fs::rename(rules.join("wrong.yaml"), rules.join("holdfast.own.yaml")).unwrap();
    assert!(said().contains("identity/holdfast.own.yaml: rename it"), "{}", said());
    fs::remove_dir_all(&rules).unwrap();
    world.run("apply", &[]);
    assert!(world.run("apply", &[]).starts_with("0 changes"));
    assert!(both(&explained()).contains("spiffe://demo.local/ns/99-apps/sa/rust"));

    // The same at the next start, and after one that nobody ended.
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        let before = told(world, "rust").unwrap();
        kill(Pid::from_raw(world.supervisor().unwrap()), end).unwrap();
        wait_for(|| world.processes().is_empty());
        world.up();
        wait_for(|| told(world, "rust").is_some_and(|told| told["pid"] != before["pid"]));
        assert_eq!(told(world, "rust").unwrap()["x509"], before["x509"], "{who:?}");
    }
    world.run("down", &["--purge"]);
    world.assert_nothing_left();
}

/// What a tainted authority signed is replaced, the certificates that the parts serve with among it.
fn the_parts_follow_their_authority(world: &World) {
    let order = |order: &str, id: &[&str]| -> Value {
        let mut command = world.command(world.path("bin/holdfast"));
        command.args(["spiffe", "localauthority", "x509", order, "-output", "json", "-state"]);
        serde_json::from_str(&world.succeed(command.arg(world.state()).args(id))).unwrap()
    };
    let id = |told: &Value| told["authority_id"].as_str().unwrap().to_owned();
    let served = || ["vault", "postgres"].map(|part| served(world, part));
    let old = id(&order("show", &[])["active"]);
    let next = id(&order("prepare", &[])["prepared_authority"]);
    order("activate", &["-authorityID", &next]);
    let before = served();
    order("taint", &["-authorityID", &old]);
    wait_for(|| served().iter().zip(&before).all(|(now, before)| now != before));
}

const RULE: &str = "\
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata:
  name: rust-of-team-one
spec:
  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/teams/one/{{ .PodMeta.Name }}
  podSelector:
    matchLabels:
      app: rust
";

/// The service `python` was let in as who it is, in so many ways, and the audit log says so.
fn assert_logged_in(world: &World, ways: usize) {
    wait_for(|| told(world, "python").is_some());
    let told = told(world, "python").unwrap();
    let id = "spiffe://demo.local/ns/99-apps/sa/python";
    assert_eq!((&told["logins"], &told["users"]), (&vec![id; ways].into(), &ways.into()));
    let audit = fs::read_to_string(world.state().join("vault/audit.log")).unwrap();
    let reads = |line: &&str| line.contains("database/creds/backend-role") && line.contains(id);
    assert!(audit.lines().filter(reads).count() >= ways);
    assert!(world.run("apply", &[]).starts_with("0 changes"), "a second apply");
    // The supervisor's own login is by SVID, once the server knows it.
    let audit = fs::read_to_string(world.state().join("vault/audit.log")).unwrap();
    assert!(audit.contains("spiffe://demo.local/holdfast/supervisor"));
    let log = fs::read_to_string(world.state().join("logs/supervisor.log")).unwrap();
    assert!(!log.contains("sealed key"), "{log}");
}

/// What a service said it got.
fn told(world: &World, service: &str) -> Option<Value> {
    let path = world.state().join("services").join(service).join("told.json");
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// `holdfast spiffe` for this platform.
fn spiffe(world: &World, words: &[&str]) -> std::process::Command {
    let mut command = world.command(world.path("bin/holdfast"));
    command.args(["spiffe", words[0], "-state"]).arg(world.state()).args(&words[1..]);
    command
}

/// What somebody gets who is no service.
fn api(world: &World) -> Output {
    let parts = world.status()["parts"].as_array().unwrap().clone();
    let agent = parts.iter().find(|part| part["name"] == "spiffe-agent").unwrap();
    let mut command = world.command(world.path("bin/holdfast"));
    command.args(["spiffe", "api", "fetch", "x509", "-socketPath"]);
    command.arg(agent["address"].as_str().unwrap()).output().unwrap()
}

/// The services' programs, with the system's Python: others may lie where no service may look.
fn install(world: &World, who: Who) {
    let platform = world.platform();
    let mut venv = world.command("/usr/bin/python3");
    let venv = venv.args(["-m", "venv"]).arg(world.home().join("venv"));
    world.succeed(venv);
    let mut pip = world.command(world.home().join("venv/bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "spiffe==0.3.0", "hvac==2.4.0"]);
    if let Some(home) = std::env::var_os("HOME").filter(|_| who == Who::Caller) {
        // Downloads are kept there.
        pip.env("PIP_CACHE_DIR", PathBuf::from(home).join(".cache/pip"));
    }
    world.succeed(&mut pip);
    fs::rename(world.home().join("venv"), platform.join("venv")).unwrap();
    fs::write(platform.join("service.py"), PYTHON).unwrap();
    fs::write(platform.join("policies/python.hcl"), POLICY).unwrap();
    fs::copy(std::env::current_exe().unwrap(), platform.join("rust")).unwrap();
}
