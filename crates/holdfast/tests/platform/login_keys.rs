//! Services log in by tokens whose keys are replaced, on each engine, and always at once: where the
//! engine fetches the keys, and where it is brought them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
use holdfast_keys::SignedToken;
use holdfast_testkit::StockServer;
use serde_json::Value;

use crate::external::External;
use crate::world::{Who, World, wait_for};

const SERVICE: &str = "\
[services.rust]\n\
command = [\"./rust\", \"login_keys::logs_in_all_the_time\", \"--exact\", \"--ignored\"]\n\
policies = [\"probe\"]\n\
[services.rust.environment]\n\
ADDRESS = \"${vault.address}\"\nAUTHORITY = \"${ca.file}\"\nMETHOD = \"${vault.login.jwt}\"\n";

/// Most of its time is that in which three keys sign, one after the other.
#[test]
fn no_login_fails_across_two_rotations() {
    thread::scope(|scope| {
        for engine in [World::embedded, World::managed] {
            scope.spawn(move || {
                let world = engine(Who::Caller);
                let keys = rotates(&world, "", || {});
                assert!(keys.is_null(), "it fetches them: {keys}");
            });
        }
        scope.spawn(on_an_external_engine);
    });
}

fn on_an_external_engine() {
    let External { server: _server, world } = External::new(Who::Caller);
    let token = world.path("operator");
    fs::write(&token, StockServer::ROOT_TOKEN).unwrap();
    let file = format!("token_file = \"{}\"\n", token.display());
    let problem = || world.status()["keys"]["problem"].clone();
    let keys = rotates(&world, &file, || {
        wait_for(|| world.status()["keys"]["brought"].is_string());
        assert_eq!(problem(), Value::Null);
        // Nobody notices before there is a key to be brought. Time passes until it has to sign.
        fs::write(&token, "s.ended").unwrap();
        let mut status = Value::Null;
        wait_for(|| {
            status = world.status();
            status["keys"]["problem"].is_string()
        });
        fs::write(&token, StockServer::ROOT_TOKEN).unwrap();
        let said = status["keys"]["problem"].to_string();
        assert!(
            said.contains("permission denied") && said.contains("the next key waits"),
            "{said}"
        );
        let fix = format!("write a token that it takes to {}", token.display());
        assert_eq!(status["worst"]["command"], fix, "{status}");
        wait_for(|| problem().is_null());
    });
    assert!(keys["brought"].is_string() && keys["problem"].is_null(), "{keys}");
}

/// Lets a service log in all the time while authorities live for half a minute; `meanwhile` goes on
/// while the first key signs. Gives what `status` says of the keys in the end.
fn rotates(world: &World, vault: &str, meanwhile: impl FnOnce()) -> Value {
    fs::copy(std::env::current_exe().unwrap(), world.platform().join("rust")).unwrap();
    let policy = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\n";
    fs::write(world.platform().join("policies/probe.hcl"), policy).unwrap();
    let config = world.config().replace("[vault]\n", &format!("[vault]\n{vault}"));
    world.write_config(&format!("{config}{SERVICE}"));
    let mut supervisor = world.supervise(&["--authority-lifetime", "30"]);
    wait_for(|| !logins(world).is_empty());
    meanwhile();
    wait_for(|| logins(world).len() >= 3);
    assert!(world.status()["worst"].is_null(), "{}", world.status());
    let keys = world.status()["keys"].clone();
    world.run("down", &["--purge"]);
    supervisor.wait().unwrap();
    keys
}

/// How many logins there were by each key, whose ids are in no order.
fn logins(world: &World) -> BTreeMap<String, usize> {
    let told = world.state().join("services/rust/logins");
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(told).unwrap_or_default().lines() {
        let (key, outcome) = line.split_once(' ').unwrap();
        assert_eq!(outcome, "ok", "{key}");
        *counts.entry(key.to_owned()).or_default() += 1;
    }
    counts
}

/// What the service runs.
#[tokio::test]
#[ignore = "a service of another test"]
async fn logs_in_all_the_time() {
    let variable = |name| std::env::var(name).unwrap();
    let mut config = VaultConfig::new(variable("ADDRESS").parse().unwrap());
    if variable("ADDRESS").starts_with("https:") {
        config.trust = Trust::File(variable("AUTHORITY").into());
    }
    config.max_retries = 0;
    let vault = VaultClient::new(&config).unwrap();
    let told = PathBuf::from(variable("STATE_DIRECTORY")).join("logins");
    let mut told = fs::OpenOptions::new().create(true).append(true).open(told).unwrap();
    let agent = spiffe::WorkloadApiClient::connect_env().await.unwrap();
    loop {
        let token = agent.fetch_jwt_svid(["vault"], None).await.unwrap().token().to_owned();
        let key = SignedToken::parse(&token).unwrap().key_id.unwrap();
        let login = vault.login_jwt(&variable("METHOD"), "rust", &token.into()).await;
        let outcome = match login {
            Ok(auth) => vault.with_token(Some(auth.client_token)).token_revoke_self().await,
            Err(error) => Err(error),
        };
        let outcome = outcome.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned());
        // A line at once: it is read meanwhile.
        told.write_all(format!("{key} {}\n", outcome.replace('\n', " ")).as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
