//! The supervisor's own socket: who asks is known by the kernel's word, not by a secret.
//!
//! A connection carries one request and one answer, each a line of JSON. The supervisor's owner
//! and root may ask for everything; members of the group `holdfast` may look and log in.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_types::SecretString;
use nix::unistd::{Gid, Group, Uid, User};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::state::State;

const SOCKET: &str = "control.sock";
/// Whose members may log in as operators.
const GROUP: &str = "holdfast";
const LONGEST_REQUEST: usize = 64 << 10;
/// A caller that sends nothing does not hold its connection for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked of a supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// How are the parts?
    Status,
    /// A token for a person.
    Login {
        /// Needed where services run under the caller's uid, which the kernel cannot tell apart.
        passphrase: Option<SecretString>,
    },
    /// Make everything what the platform directory says, or show what would change.
    Apply(ApplyMode),
    /// Stop a part, or all, and start again.
    Restart { part: Option<String> },
    /// Open the secrets server after an operator sealed it.
    Unseal,
    /// Stop everything and end.
    Down,
}

/// How far an apply goes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ApplyMode {
    /// Only show.
    pub(crate) plan: bool,
    /// Take over what others made.
    pub(crate) adopt: bool,
    /// Remove mounts that no file names any more, with everything stored there.
    pub(crate) delete_data: bool,
}

/// Who asks, by the kernel's word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) uid: Uid,
    gid: Gid,
    /// Of the calling process, for the log alone: it may be gone by now.
    pub(crate) pid: Option<i32>,
}

/// The socket, bound.
pub(crate) struct Listener(UnixListener);

/// A request that waits for its answer.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) caller: Caller,
    stream: UnixStream,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error(String),
}

impl Listener {
    /// Binds the socket in the state directory, in place of a dead supervisor's.
    pub(crate) fn bind(state: &State) -> anyhow::Result<Self> {
        let path = state.join(SOCKET);
        super::files::remove(&path)?;
        let (directory, short) = short_path(&path)?;
        let listener =
            UnixListener::bind(short).with_context(|| format!("listen on {}", path.display()))?;
        drop(directory);
        // Where the group does not exist nobody is in it.
        let group = Group::from_name(GROUP).ok().flatten();
        let mode = match group.filter(|_| Uid::effective().is_root()) {
            Some(group) => {
                chown(&path, None, Some(group.gid.as_raw()))?;
                0o660
            }
            None => 0o600,
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(Self(listener))
    }

    /// The next connection; [`read`] its request.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.0.accept().await?.0)
    }
}

/// Reads the request of a connection.
pub(crate) async fn read(stream: UnixStream) -> anyhow::Result<Asked> {
    let credentials = stream.peer_cred()?;
    let caller = Caller {
        uid: Uid::from_raw(credentials.uid()),
        gid: Gid::from_raw(credentials.gid()),
        pid: credentials.pid(),
    };
    let mut stream = stream;
    // A passphrase may be in it: nothing of it is copied where it would not be wiped.
    let mut line = Zeroizing::new(vec![0; LONGEST_REQUEST]);
    let length = timeout(PATIENCE, read_line(&mut stream, &mut line)).await??;
    let request = serde_json::from_slice(&line[..length]).context("no request")?;
    Ok(Asked { request, caller, stream })
}

/// Reads up to a line's end, the end of what is sent, or of the room. Gives the length.
async fn read_line(stream: &mut UnixStream, line: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < line.len() {
        let count = stream.read(&mut line[length..]).await?;
        let end = line[length..length + count].iter().position(|byte| *byte == b'\n');
        length += end.unwrap_or(count);
        if count == 0 || end.is_some() {
            break;
        }
    }
    Ok(length)
}

impl Asked {
    /// Answers, and closes the connection.
    pub(crate) async fn answer(mut self, answer: anyhow::Result<Value>) {
        let answer = match answer {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(format!("{error:#}")),
        };
        let Ok(line) = serde_json::to_vec(&answer) else { return };
        let mut line = Zeroizing::new(line);
        line.push(b'\n');
        // A caller who is gone needs no answer.
        let _ = timeout(PATIENCE, self.stream.write_all(&line)).await;
    }
}

impl Caller {
    /// Passes for the supervisor's own user and for root.
    pub(crate) fn must_own(&self) -> anyhow::Result<()> {
        if self.uid.is_root() || self.uid == Uid::effective() {
            return Ok(());
        }
        bail!("only {} or root may do that", super::files::user_name(Uid::effective()))
    }

    /// Passes for those, and for members of the group `holdfast`.
    pub(crate) fn must_operate(&self) -> anyhow::Result<()> {
        if self.must_own().is_ok() {
            return Ok(());
        }
        let member = Group::from_name(GROUP)?.is_some_and(|group| {
            let name = User::from_uid(self.uid).ok().flatten().map(|user| user.name);
            group.gid == self.gid || name.is_some_and(|name| group.mem.contains(&name))
        });
        if member {
            return Ok(());
        }
        bail!(
            "only members of the group {GROUP} may do that; an administrator adds you with `usermod -aG {GROUP} NAME`"
        )
    }

    /// For logs and audit records.
    pub(crate) fn name(&self) -> String {
        super::files::user_name(self.uid)
    }

    /// The same as a segment of a SPIFFE ID; by the number where the name cannot be one.
    ///
    /// Source: SPIFFE-ID standard, section 2.2.
    pub(crate) fn path_segment(&self) -> String {
        let name = self.name();
        let is_segment = !matches!(&*name, "" | "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_segment { name } else { format!("uid-{}", self.uid) }
    }
}

/// Asks the supervisor of `state`. `None` when there is none.
pub(crate) async fn ask<T: DeserializeOwned>(
    state: &State,
    request: &Request,
) -> anyhow::Result<Option<T>> {
    let path = state.join(SOCKET);
    let connect = async {
        let (_directory, short) = short_path(&path)?;
        UnixStream::connect(short).await
    };
    let mut stream = match connect.await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
            io::ErrorKind::PermissionDenied => bail!(
                "the supervisor is not yours: only its owner, root and members of the group {GROUP} may ask it"
            ),
            _ => return Err(error).with_context(|| format!("connect to {}", path.display())),
        },
    };
    let mut line = Zeroizing::new(serde_json::to_vec(request)?);
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Zeroizing::new(Vec::new());
    stream.read_to_end(&mut answer).await.context("the supervisor went away")?;
    if answer.is_empty() {
        bail!("the supervisor went away");
    }
    match serde_json::from_slice(&answer).context("the supervisor's answer")? {
        Answer::Ok(value) => Ok(Some(serde_json::from_value(value)?)),
        Answer::Error(error) => bail!(error),
    }
}

/// The same path by a way that is short enough for a socket's address (107 bytes): through the
/// directory's descriptor, which has to stay open while the path is used.
fn short_path(path: &Path) -> io::Result<(Option<File>, PathBuf)> {
    if path.as_os_str().len() < 108 {
        return Ok((None, path.to_owned()));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let directory = File::open(parent)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((Some(directory), short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_may_come_in_pieces_and_has_an_end() {
        let ask = async |pieces: Vec<&[u8]>| {
            let (mut client, server) = UnixStream::pair().unwrap();
            let write = async move {
                for piece in pieces {
                    // Whoever sends too much is not listened to.
                    let _ = client.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(write, read(server)).1.map(|asked| asked.request)
        };
        let down: [Vec<&[u8]>; 2] =
            [vec![b"{\"verb\":", b"\"down\"}\nx"], vec![b"{\"verb\":\"down\"}"]];
        for pieces in down {
            assert!(matches!(ask(pieces).await, Ok(Request::Down)));
        }
        let long = vec![b' '; LONGEST_REQUEST];
        let refused: [Vec<&[u8]>; 4] = [
            vec![],
            vec![b"\n"],
            vec![b"{\"verb\":\"frob\"}\n"],
            vec![&long, b"{\"verb\":\"down\"}\n"],
        ];
        for (index, pieces) in refused.into_iter().enumerate() {
            assert!(ask(pieces).await.is_err(), "{index}");
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_and_the_caller_known() {
        let directory = tempfile::tempdir().unwrap();
        // Longer than a socket's address may be.
        let state = State::create(&directory.path().join("x".repeat(120))).unwrap();
        assert!(ask::<Value>(&state, &Request::Status).await.unwrap().is_none());
        let listener = Listener::bind(&state).unwrap();
        let serve = async {
            for answer in [Ok(serde_json::json!(7)), Err(anyhow::anyhow!("no"))] {
                let asked = read(listener.accept().await.unwrap()).await.unwrap();
                assert_eq!(asked.caller.uid, Uid::effective());
                asked.caller.must_own().unwrap();
                asked.answer(answer).await;
            }
        };
        let both = async {
            let request = Request::Restart { part: None };
            assert_eq!(ask::<i32>(&state, &request).await.unwrap(), Some(7));
            let error = ask::<i32>(&state, &request).await.unwrap_err();
            assert_eq!(error.to_string(), "no");
        };
        tokio::join!(serve, both);
    }
}
