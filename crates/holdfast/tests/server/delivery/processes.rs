//! Processes that the agent runs, and those that it tells.

use std::fs;

use holdfast_agent::status::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::world::{Program, World, until};

#[tokio::test]
async fn a_process_runs_with_secrets_and_is_started_anew() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1", "code": "7" })).await;
    let mut agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        env_template "NUMBER" { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}" }
        env_template "CODE"   { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.code }}{{ end }}" }
        exec {
          command = ["sh", "-c", "echo $NUMBER >> FOLDER/started; while [ ! -e FOLDER/end ]; do sleep 0.05; done; exit $CODE"]
          restart_on_secret_changes = "always"
          restart_stop_signal       = "SIGTERM"
        }
        "#,
    );
    world.until(&agent, "started", "1\n").await;
    let first = agent.status().await.consumers[0].pid;
    world.put("app", json!({ "n": "2", "code": "9" })).await;
    world.until(&agent, "started", "1\n2\n").await;
    let status = agent.until("the other process", |status| status.consumers[0].pid != first).await;
    let process = &status.consumers[0];
    assert_eq!((process.name.as_str(), process.holds[0].version), ("process", Some(2)));
    assert!(status.notices.iter().any(|notice| notice.contains("environ")), "it is pointed out");
    // Its end is the agent's.
    fs::write(world.path("end"), "").unwrap();
    assert_eq!(agent.ended().await, 9);
}

#[tokio::test]
async fn a_process_that_is_not_to_be_started_anew_is_named() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        env_template "NUMBER" { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}" }
        exec {
          command = ["sh", "-c", "echo $NUMBER >> FOLDER/started; exec sleep 600"]
          restart_on_secret_changes = "never"
        }
        "#,
    );
    world.until(&agent, "started", "1\n").await;
    world.put("app", json!({ "n": "2" })).await;
    let status = agent.until("a stale process", |status| status.consumers[0].stale).await;
    assert_eq!(status.consumers[0].holds[0].version, Some(1), "what it was started with");
    assert_eq!(world.text("started"), "1\n");
}

#[tokio::test]
async fn a_consumer_that_acknowledges_lets_the_old_generation_go() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        template {
          contents    = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}"
          destination = "FOLDER/agent/one"
          command     = "cat FOLDER/agent/one >> FOLDER/told"
          acknowledge {
            file    = "FOLDER/on"
            timeout = "60s"
          }
        }
        "#,
    );
    for round in 1..4_u64 {
        // Told after the flip: what it reads then is what there is.
        let told: String = (1..=round).map(|number| number.to_string()).collect();
        world.until(&agent, "told", &told).await;
        let status = agent.status().await;
        let consumer = &status.consumers[0];
        assert!(consumer.stale && consumer.generation == round - 1, "{consumer:?}");
        if round > 1 {
            let kept = status.generation.unwrap().kept;
            assert!(kept.contains(&(round - 1)), "what it is on stays: {kept:?}");
        }
        fs::write(world.path("on"), round.to_string()).unwrap();
        agent.until("the acknowledgement", |status| !status.consumers[0].stale).await;
        world.put("app", json!({ "n": (round + 1).to_string() })).await;
    }
    agent
        .until("the old ones to go", |status| {
            status.generation.as_ref().is_some_and(|all| !all.kept.contains(&1))
        })
        .await;
}

#[tokio::test]
async fn whoever_missed_a_change_is_told_by_the_next_agent() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let mut agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        template {
          contents    = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}"
          destination = "FOLDER/agent/one"
          exec {
            command = ["sh", "-c", "test -e FOLDER/works && cat FOLDER/agent/one > FOLDER/told"]
            timeout = "20s"
          }
        }
        "#,
    );
    agent.until("a failure", |status| status.consumers[0].problem.is_some()).await;
    agent.kill();
    fs::write(world.path("works"), "").unwrap();
    agent.start();
    world.until(&agent, "told", "1").await;
    until("no more than that", &agent, || !agent.log().contains("panicked")).await;
}

/// Whether a process runs, and is not only still to be waited for.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_process_does_not_outlive_an_agent_that_is_killed() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    // What it starts beside itself is not killed with it.
    let mut agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        env_template "NUMBER" { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}" }
        exec {
          command = ["sh", "-c", "sleep 600 & echo $$ $! $(ulimit -c) >> FOLDER/started; wait"]
        }
        "#,
    );
    let started = |index: usize| {
        let text = world.text("started");
        let words: Vec<_> = text.lines().nth(index)?.split(' ').map(str::to_owned).collect();
        let [process, beside, limit] = &words[..] else { return None };
        Some((process.parse::<i32>().ok()?, beside.parse::<i32>().ok()?, limit.clone()))
    };
    until("the process", &agent, || started(0).is_some()).await;
    let (process, beside, limit) = started(0).unwrap();
    assert_eq!(limit, "0", "its memory is not dumped");
    agent.until("the process to be known", |status| status.consumers[0].pid == Some(process)).await;
    assert!(lives(process) && lives(beside));
    agent.kill();
    until("the process to end with its agent", &agent, || !lives(process)).await;
    assert!(lives(beside), "nobody knows of it but the process");

    agent.start();
    until("what it started to be ended", &agent, || !lives(beside)).await;
    until("another process", &agent, || started(1).is_some()).await;
    let (process, beside, _) = started(1).unwrap();
    assert!(lives(process) && lives(beside));

    // Told to end, the agent ends both.
    kill(Pid::from_raw(agent.pid()), Signal::SIGTERM).unwrap();
    until("the end of both", &agent, || !lives(process) && !lives(beside)).await;
    assert_eq!(agent.ended().await, 0);
}

#[tokio::test]
async fn a_process_that_asks_for_them_may_leave_core_dumps() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        env_template "NUMBER" { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}" }
        exec {
          command    = ["sh", "-c", "echo $(ulimit -c) $(ulimit -Hc) > FOLDER/limits; exec sleep 600"]
          core_dumps = true
        }
        "#,
    );
    let limits = || {
        let text = world.text("limits");
        text.trim().split_once(' ').map(|(soft, hard)| (soft.to_owned(), hard.to_owned()))
    };
    until("the process", &agent, || limits().is_some()).await;
    let (soft, hard) = limits().unwrap();
    assert_eq!(soft, hard, "what the system lets it");
}

#[tokio::test]
async fn a_process_that_is_not_there_ends_the_agent() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let mut agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        env_template "NUMBER" { contents = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}" }
        exec { command = ["FOLDER/no-such-program", "x"] }
        "#,
    );
    assert_ne!(agent.ended().await, 0);
    let log = agent.log();
    assert!(log.contains("no-such-program: there is no such program"), "{log}");
}

/// Reads its file at the start and on SIGHUP, and says so as services do to systemd: on a signal once
/// nothing holds it, and before that what says nothing of a reload.
const RELOADS: &str = r#"
import os, signal, socket, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
def read():
    with open("FOLDER/read", "a") as out:
        out.write(open("FOLDER/agent/one").read() + "\n")
def reload(*_):
    say("READY=1")
    say("RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))
    read()
    while os.path.exists("FOLDER/hold"):
        time.sleep(0.02)
    say("READY=1")
signal.signal(signal.SIGHUP, reload)
read()
say("READY=1")
while True:
    signal.pause()
"#;

#[tokio::test]
async fn a_process_that_was_signalled_says_when_it_is_ready() {
    let world = World::ours().await;
    world.put("app", json!({ "n": "1" })).await;
    let folder = world.path("").display().to_string();
    fs::write(world.path("reloads.py"), RELOADS.replace("FOLDER/", &folder)).unwrap();
    let mut agent = world.agent(
        Program::Ours,
        "agent",
        r#"
        template {
          contents      = "{{ with secret \"kv/app\" }}{{ .Data.data.n }}{{ end }}"
          destination   = "FOLDER/agent/one"
        }
        exec {
          command       = ["/usr/bin/python3", "FOLDER/reloads.py"]
          reload_signal = "SIGHUP"
          acknowledge { ready = true }
        }
        "#,
    );
    let at_ease = |status: &Status| status.consumers[0].pid.is_some() && !status.consumers[0].stale;
    agent.until("its start", at_ease).await;
    for round in 2..5_u64 {
        fs::write(world.path("hold"), "").unwrap();
        world.put("app", json!({ "n": round.to_string() })).await;
        let read: String = (1..=round).map(|number| format!("{number}\n")).collect();
        world.until(&agent, "read", &read).await;
        // It has read the file, and has said READY=1 since the signal: but not that it is done.
        let status = agent.status().await;
        let process = &status.consumers[0];
        assert!(process.stale && process.generation < process.wanted, "{process:?}");
        let kept = status.generation.unwrap().kept;
        assert!(kept.contains(&process.generation), "what it is on stays: {kept:?}");
        fs::remove_file(world.path("hold")).unwrap();
        agent.until("its acknowledgement", at_ease).await;
    }
    kill(Pid::from_raw(agent.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(agent.ended().await, 0);
}
