//! What goes wrong around an agent: servers that are away, killed agents, places that are taken.

use std::fs;
use std::time::{Duration, Instant};

use holdfast_agent::status::{self, FileState, StatePlace, StatusError};
use serde_json::json;

use super::world::{PATIENCE, Program, World, until};
use crate::process::Server;

const ONE: &str = r#"
    template {
      contents    = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}"
      destination = "FOLDER/agent/one"
    }
"#;

/// A server that can be killed, behind a socket.
async fn killable() -> (Server, World) {
    let server = Server::new().await;
    let address = format!("unix://{}", server.folder().join("server.sock").display());
    let client = server.client();
    let token = client.token().unwrap().expose().clone();
    let world = World::at(address, &token, None).await;
    (server, world)
}

#[tokio::test]
async fn files_outlive_the_server_and_the_agent() {
    let (mut server, world) = killable().await;
    world.put("app", json!({ "n": "1" })).await;
    let mut agent = world.agent(Program::Ours, "agent", ONE);
    world.until(&agent, "agent/one", "1").await;
    server.kill();
    let status = agent.until("the server to be missed", |status| !status.server.reachable).await;
    assert!(status.server.answered.is_some() && status.server.problem.is_some(), "{status:?}");
    assert_eq!(world.text("agent/one"), "1");
    // An agent that starts while the server is away has what the one before it had.
    agent.kill();
    assert_eq!(world.text("agent/one"), "1");
    agent.start();
    let status =
        agent.until("a look at the server", |status| status.server.problem.is_some()).await;
    assert_eq!(status.files[0].state, FileState::Resumed);
    assert!(!status.server.reachable && status.files[0].changed.is_some());
    assert_eq!(world.text("agent/one"), "1");
    // The server comes back, with something new.
    server.start().await;
    world.put("app", json!({ "n": "2" })).await;
    world.until(&agent, "agent/one", "2").await;
    agent.until("all to be well", |status| status.worst().is_none()).await;
}

#[tokio::test]
async fn a_destination_that_is_taken_is_named_and_waited_for() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    fs::create_dir_all(world.path("agent/one")).unwrap();
    let other = ONE.replace("agent/one", "agent/other");
    let agent = world.agent(Program::Ours, "agent", &format!("{ONE}{other}"));
    world.until(&agent, "agent/other", "1").await;
    let status = agent.until("a problem", |status| status.files[0].problem.is_some()).await;
    let problem = status.files[0].problem.clone().unwrap();
    assert!(problem.message.contains("is a directory"), "{problem:?}");
    fs::remove_dir(world.path("agent/one")).unwrap();
    world.put("app", json!({ "n": "2" })).await;
    world.until(&agent, "agent/one", "2").await;
}

#[tokio::test]
async fn a_second_agent_of_the_same_files_is_refused() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let agent = world.agent(Program::Ours, "agent", ONE);
    world.until(&agent, "agent/one", "1").await;
    let mut second = world.agent(Program::Ours, "agent", ONE);
    assert_eq!(second.ended().await, 1);
    assert!(second.log().contains("is in use by another agent"), "{}", second.log());
}

#[tokio::test]
async fn an_agent_that_is_to_end_at_failures_ends() {
    let world = World::ours().await;
    let config = format!(
        r#"
        template_config {{ exit_on_retry_failure = true }}
        {}
        "#,
        ONE.replace("kv/app", "kv/nothing")
    );
    let mut agent = world.agent(Program::Ours, "agent", &config);
    // It waits longer each time, so it is told to try twice.
    agent.kill();
    let file = world.path("agent.hcl");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen("vault {", "vault { retry { num_retries = 1 }", 1);
    fs::write(&file, text).unwrap();
    agent.start();
    assert_eq!(agent.ended().await, 1);
    assert!(agent.log().contains("there is no secret at kv/data/nothing"), "{}", agent.log());
}

/// A server that takes its time, and one that answers with nonsense.
#[tokio::test]
async fn a_slow_or_senseless_server_delays_only_itself() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = world.address.strip_prefix("http://").unwrap().to_owned();
    // Between them: passes everything on, but the path `slow` never, and `senseless` not as it came.
    let between = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(pass_on(client, upstream.clone()));
        }
    });
    let config = ["slow", "senseless"].map(|name| {
        ONE.replace("kv/app", &format!("kv/{name}")).replace("agent/one", &format!("agent/{name}"))
    });
    let mut between_world = world;
    between_world.address = format!("http://{address}");
    let agent = between_world.agent(Program::Ours, "agent", &format!("{ONE}{}", config.concat()));
    let start = Instant::now();
    between_world.until(&agent, "agent/one", "1").await;
    assert!(start.elapsed() < Duration::from_secs(20));
    let status =
        agent.until("the nonsense to be named", |status| status.files[2].problem.is_some());
    let problem = status.await.files[2].problem.clone().unwrap();
    assert!(problem.message.contains("not what the API promises"), "{problem:?}");
    between_world.put("app", json!({ "n": "2" })).await;
    between_world.until(&agent, "agent/one", "2").await;
    until("nothing of the others", &agent, || !between_world.path("agent/slow").exists()).await;
    between.abort();
}

async fn pass_on(mut client: tokio::net::TcpStream, upstream: String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(mut server) = tokio::net::TcpStream::connect(upstream).await else { return };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut answer = vec![0; 64 << 10];
        tokio::select! {
            read = client.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if text.starts_with("GET /v1/kv/data/slow") {
                    // It is not heard of again.
                    std::future::pending::<()>().await;
                }
                if text.starts_with("GET /v1/kv/data/senseless") {
                    let nonsense = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"data\":x";
                    let _ = client.write_all(nonsense.as_bytes()).await;
                    continue;
                }
                if server.write_all(&buffer[..read]).await.is_err() { return }
            }
            read = server.read(&mut answer) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answer[..read]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn who_takes_over_leaves_the_token_before_alone_until_its_own_files_are_there() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let mut agent = world.agent(Program::Ours, "agent", ONE);
    world.until(&agent, "agent/one", "1").await;
    let token = world.text("agent/token");
    let before = world.root.with_token(Some(token.as_str().into()));
    agent.kill();
    let socket = StatePlace::of(&[world.path("agent.hcl")], None).socket();
    assert!(socket.exists(), "a killed agent leaves its socket");
    assert!(matches!(status::read(&socket).await, Err(StatusError::Gone(_))));
    assert!(!socket.exists());

    world.put("app", json!({ "n": "2" })).await;
    agent.start();
    let works = async || before.read("kv/data/app", &[]).await.is_ok();
    let start = Instant::now();
    while world.text("agent/one") != "2" {
        assert!(works().await, "the token before has ended, and the new file is not there");
        assert!(start.elapsed() < PATIENCE, "{}", agent.log());
    }
    until("another token", &agent, || world.text("agent/token") != token).await;
    assert!(works().await, "who holds what it gave may go on");
}
