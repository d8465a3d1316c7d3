//! What happens to a rotation under way.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::world::{Rotating, SECRET, both};
use crate::process::Server;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Command,
    Agent,
    Server,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Somebody is killed when this phase begins.
    Kill(Victim, &'static str),
    /// A consumer refuses to acknowledge.
    Refuse,
    /// The same, and somebody is killed on the way back.
    RefuseAndKill(Victim, &'static str),
    /// Somebody whom no agent knows goes on with the old credential.
    Stranger,
    /// Somebody else writes the secret meanwhile.
    Conflict,
}

impl Fault {
    /// Fifty, in an order in which every part has of everything.
    pub(super) fn all() -> Vec<Self> {
        let victims = [Victim::Command, Victim::Agent, Victim::Server];
        let forward = ["prepare", "alter", "write", "deliver", "acknowledge", "verify", "retire"];
        let back = ["reinstate", "restore", "inform", "invalidate"];
        let mut all = Vec::new();
        for victim in victims {
            all.extend(forward.map(|phase| Self::Kill(victim, phase)));
            all.extend(back.map(|phase| Self::RefuseAndKill(victim, phase)));
        }
        for _ in 0..4 {
            all.extend([Self::Refuse, Self::Stranger, Self::Conflict, Self::None]);
        }
        all.push(Self::None);
        // 7 and 50 have no common factor.
        (0..all.len()).map(|index| all[index * 7 % all.len()]).collect()
    }

    /// Whether the rotation is to be rolled back.
    pub(super) fn fails(self) -> bool {
        !matches!(self, Self::None | Self::Kill(..))
    }
}

/// Rotates once, with a fault. Gives the exit code of the command that came to the end.
pub(super) async fn rotate(rotating: &mut Rotating, server: &mut Server, fault: Fault) -> i32 {
    let refuse = rotating.world.path("refuse");
    if matches!(fault, Fault::Refuse | Fault::RefuseAndKill(..)) {
        std::fs::write(&refuse, "").unwrap();
    }
    let (user, password, _) = rotating.current().await;
    let stranger = (fault == Fault::Stranger).then(|| Stranger::start(rotating, &user, &password));
    let mut killed = false;
    let code = loop {
        let words = [SECRET, "--timeout", "40s"];
        let mut command = rotating.command(&words).spawn().unwrap();
        let mut said = String::new();
        let mut command_killed = false;
        for line in BufReader::new(command.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            let begun = |phase: &str| line.starts_with(&format!("{phase}: "));
            match fault {
                Fault::Kill(victim, phase) | Fault::RefuseAndKill(victim, phase)
                    if begun(phase) && !killed =>
                {
                    killed = true;
                    match victim {
                        Victim::Command => {
                            command.kill().unwrap();
                            command_killed = true;
                        }
                        Victim::Agent => {
                            rotating.agent.kill();
                            rotating.agent.start();
                        }
                        Victim::Server => {
                            server.kill();
                            server.start().await;
                        }
                    }
                }
                Fault::Conflict if begun("alter") && !killed => {
                    killed = true;
                    change(rotating).await;
                }
                _ => {}
            }
            // A consumer that refused is told again, and then does not refuse.
            if begun("reinstate") {
                let _ = std::fs::remove_file(&refuse);
            }
            said.push_str(&line);
            said.push('\n');
        }
        let output = command.wait_with_output().unwrap();
        if command_killed {
            continue;
        }
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{fault:?}: {code:?}: {said}{}", both(&output));
        break code.unwrap();
    };
    let wants_kill = matches!(fault, Fault::Kill(..) | Fault::RefuseAndKill(..) | Fault::Conflict);
    assert_eq!(killed, wants_kill, "{fault:?}");
    drop(stranger);
    code
}

/// Adds to the secret what has nothing to do with its credential.
async fn change(rotating: &Rotating) {
    let (user, password, version) = rotating.current().await;
    let data = json!({ "username": user, "password": password, "note": version });
    rotating.world.put("app/db", data).await;
}

/// Somebody who uses a credential and tells nobody.
struct Stranger(Child);

impl Stranger {
    fn start(rotating: &Rotating, user: &str, password: &str) -> Self {
        let psql = rotating.postgres.psql_command(user, password, "postgres");
        let mut shell = Command::new("sh");
        let line = "while kill -0 $PPID; do psql -X -c 'SELECT pg_sleep(0.5)' || sleep 0.1; done";
        shell.args(["-c", line]).env_clear();
        for (name, value) in psql.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        shell.env("PGAPPNAME", "stranger");
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
