//! How the agents of a rotation stand.

use std::path::PathBuf;

use super::agents::{self, Mark};
use super::drive::Rotation;
use super::record::Straggler;
use super::trouble::{Step, Trouble};

impl Rotation<'_> {
    /// How all agents stand: files and consumers that are behind, and how many consumers there are.
    pub(crate) async fn standings(
        &mut self,
        mark: Mark,
    ) -> Step<(Vec<Straggler>, Vec<Straggler>, usize)> {
        let path = self.target.read_path();
        let mut sockets: Vec<_> =
            self.record.agents.iter().map(|agent| agent.socket.clone()).collect();
        // Who begins to deliver it meanwhile counts, too.
        for socket in self.sockets() {
            if !sockets.contains(&socket) {
                sockets.push(socket);
            }
        }
        let (mut files, mut consumers, mut watched) = (Vec::new(), Vec::new(), 0);
        for (socket, answer) in agents::ask(&sockets).await {
            let known = self.record.agents.iter().find(|agent| agent.socket == socket);
            match answer {
                // Of another secrets server, and not named by an operator.
                Ok(status)
                    if known.is_none()
                        && !self.named.sockets.contains(&socket)
                        && agents::is_elsewhere(&status, self.cluster.as_deref()) => {}
                Ok(status) => {
                    let standing = agents::standing(&status, &path, mark);
                    files.extend(standing.files);
                    consumers.extend(standing.consumers);
                    watched += standing.watched;
                    if known.is_none() && agents::delivers(&status, &path) {
                        self.record.agents.push(agents::watched(&status, socket));
                    } else if known.is_some() && !agents::delivers(&status, &path) {
                        let name = status.name.clone();
                        return Err(Trouble::passing(format!("{name} has not read it yet")));
                    }
                }
                Err(error) if known.is_some() => {
                    return Err(Trouble::Passing(error.into()));
                }
                Err(_) => {}
            }
        }
        Ok((files, consumers, watched))
    }

    /// The agents to ask: those that were named, and all that are found here.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let mut sockets = self.named.sockets.clone();
        if !self.named.no_others {
            sockets.extend(holdfast_agent::status::sockets());
        }
        sockets.sort();
        sockets.dedup();
        sockets
    }
}

/// Somebody who is behind, in words.
pub(crate) fn behind(one: &Straggler, of: usize) -> String {
    let mut text = format!("{} of {}", one.name, one.agent);
    if let Some(pid) = one.pid {
        text.push_str(&format!(" (pid {pid})"));
    }
    match one.version {
        Some(version) => text.push_str(&format!(" is on version {version}")),
        None => text.push_str(" is behind"),
    }
    if let Some(problem) = &one.problem {
        text.push_str(&format!(": {problem}"));
    }
    if of > 1 {
        text.push_str(&format!(", and {} more", of - 1));
    }
    text
}
