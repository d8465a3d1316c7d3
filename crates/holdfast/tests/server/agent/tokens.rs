//! Keeping the token, and handing it on.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::sys::signal::Signal;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_token_is_renewed_and_replaced_before_its_longest_life_ends() {
    for scene in Scene::both().await {
        scene.role("6s", "12s").await;
        scene.put_ids().await;
        let config = scene.configure("a.hcl", APPROLE);
        let mut agent = scene.start(&config, &[]);
        let first = agent.token(&scene.at("token"), "").await;
        // All the while the token in the sink works.
        let sink = scene.at("token");
        let replaced = async || {
            let token = fs::read_to_string(&sink).unwrap();
            let works = scene.look_up(&token).await.is_some();
            assert!(works || fs::read_to_string(&sink).unwrap() != token, "a dead token");
            (token != first).then_some(token)
        };
        agent.until("another token", replaced).await;
        assert!(agent.said().contains("renewed the token"), "{}", agent.said());
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced() {
    for scene in Scene::both().await {
        scene.role("3s", "1h").await;
        scene.put_ids().await;
        let config = scene.configure("a.hcl", APPROLE);
        let mut agent = scene.start(&config, &[]);
        let first = agent.token(&scene.at("token"), "").await;
        scene.write("auth/token/revoke", &json!({ "token": first })).await;
        let second = agent.token(&scene.at("token"), &first).await;
        assert!(scene.look_up(&second).await.is_some());
    }
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let scene = Scene::ours().await;
    scene.put_ids().await;
    let config = scene.configure("a.hcl", APPROLE);
    let nowhere = format!("-address=unix://{}", scene.at("no.sock").display());
    let mut agent = scene.start(&config, &[&nowhere]);
    let log = agent.log.clone();
    let tried = async || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        (said.matches("no such socket").count() >= 2).then_some(())
    };
    agent.until("it tries again", tried).await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().await.success(), "a signal ends it in good order");
}

#[tokio::test]
async fn sinks_have_their_mode_and_owner_and_may_be_wrapped() {
    for scene in Scene::both().await {
        scene.put_ids().await;
        let owner = nix::unistd::geteuid().as_raw();
        let text = APPROLE.replace(
            "sink \"file\" {",
            "sink \"file\" { wrap_ttl = \"5m\" config = { path = \"FOLDER/wrapped\" mode = 0600 \
             uid = OWNER gid = -1 } }\n sink \"file\" {",
        );
        let config = scene.configure("a.hcl", &text.replace("OWNER", &owner.to_string()));
        let mut agent = scene.start(&config, &["-exit-after-auth"]);
        assert!(agent.end().await.success(), "{}", agent.said());
        for (name, mode) in [("token", 0o640), ("wrapped", 0o600)] {
            let metadata = fs::metadata(scene.at(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
            assert_eq!(metadata.uid(), owner);
        }
        let wrapped: Value = serde_json::from_str(&scene.read("wrapped")).unwrap();
        let token = wrapped["token"].as_str().unwrap().into();
        let reply = scene.root.unwrap(&token).await.unwrap();
        assert_eq!(reply.data.unwrap()["token"], scene.read("token"));
        let again = scene.root.unwrap(&token).await;
        assert!(again.is_err(), "it is good for one use");
    }
}

#[tokio::test]
async fn a_wrapped_login_goes_to_its_sink_alone() {
    for scene in Scene::both().await {
        scene.put_ids().await;
        let text =
            APPROLE.replace("config = {\n      role", "wrap_ttl = \"5m\"\n config = {\n role");
        assert_ne!(text, APPROLE);
        let config = scene.configure("a.hcl", &text);
        let mut agent = scene.start(&config, &["-exit-after-auth"]);
        assert!(agent.end().await.success(), "{}", agent.said());
        let wrapped: Value = serde_json::from_str(&scene.read("token")).unwrap();
        assert_eq!(wrapped["creation_path"], "auth/approle/login");
        let reply = scene.root.unwrap(&wrapped["token"].as_str().unwrap().into()).await.unwrap();
        let auth = reply.auth.expect("a login is inside");
        assert!(scene.look_up(auth.client_token.expose()).await.is_some());
    }
}

#[tokio::test]
async fn a_killed_agent_starts_again_where_it_was() {
    let scene = Scene::ours().await;
    scene.put_ids().await;
    let text = APPROLE.replace(
        "secret_id_file_path",
        "remove_secret_id_file_after_reading = false\n secret_id_file_path",
    );
    let socket = "listener \"unix\" { address = \"FOLDER/agent.sock\" }\n";
    let text = format!("{text}{socket}pid_file = \"FOLDER/pid\"\n");
    let config = scene.configure("a.hcl", &text);
    let mut agent = scene.start(&config, &[]);
    let mut before = agent.token(&scene.at("token"), "").await;
    for _ in 0..3 {
        agent.kill();
        // What is left of it, its socket and its pid file, is in nobody's way.
        assert!(scene.at("agent.sock").exists() && scene.at("pid").exists());
        agent = scene.start(&config, &[]);
        before = agent.token(&scene.at("token"), &before).await;
        assert!(scene.look_up(&before).await.is_some());
    }
    let pid = async || (scene.read("pid") == agent_pid(&scene)).then_some(());
    agent.until("its process id", pid).await;
    agent.signal(Signal::SIGINT);
    assert!(agent.end().await.success());
    assert!(!scene.at("agent.sock").exists() && !scene.at("pid").exists());
    assert!(scene.look_up(&before).await.is_some(), "the token is not revoked");
}

/// The process id that the kernel has for whoever holds the socket.
fn agent_pid(scene: &Scene) -> String {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    let stream = std::os::unix::net::UnixStream::connect(scene.at("agent.sock"));
    let credentials = stream.ok().and_then(|stream| getsockopt(&stream, PeerCredentials).ok());
    credentials.map_or_else(String::new, |credentials| credentials.pid().to_string())
}

#[tokio::test]
async fn hangup_reads_the_files_anew_and_keeps_what_was_where_they_are_wrong() {
    let scene = Scene::ours().await;
    scene.put_ids().await;
    let more = "log_level = \"warn\"\nlog_file = \"FOLDER/own.log\"\n";
    let config = scene.configure("a.hcl", &format!("{APPROLE}{more}"));
    let mut agent = scene.start(&config, &[]);
    let token = agent.token(&scene.at("token"), "").await;
    assert!(!scene.read("own.log").contains("logged in"), "{}", scene.read("own.log"));
    fs::rename(scene.at("own.log"), scene.at("own.log.1")).unwrap();
    scene.configure("a.hcl", &format!("{APPROLE}{}", more.replace("warn", "info")));
    agent.signal(Signal::SIGHUP);
    let read = async || scene.read("own.log").contains("was read anew").then_some(());
    agent.until("the level changed, and the file is a new one", read).await;
    scene.configure("a.hcl", "frob = 1");
    agent.signal(Signal::SIGHUP);
    let refused = async || scene.read("own.log").contains("frob: unknown setting").then_some(());
    agent.until("the mistake is named", refused).await;
    assert_eq!(scene.read("token"), token, "the login stands");
}
