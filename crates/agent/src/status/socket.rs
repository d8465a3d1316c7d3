//! The agent's own socket: whoever may open it is told how things are.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::place::base;
use super::{Status, plain};

/// A reader that takes longer is not waited for, nor is an agent.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer.
const LONGEST: u64 = 64 << 20;

/// The socket, bound. Each connection is given the status, as JSON, and closed.
pub struct Listener {
    socket: UnixListener,
    /// Of the socket's directory. While it is held, somebody lives there: see [`read`].
    _lives: Flock<File>,
}

/// Why an agent's status is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody listens there, or may be asked.
    #[error("ask {}: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The agent was killed: nobody listens, nobody holds its directory. The socket was removed.
    #[error("the agent of {} is gone", .0.display())]
    Gone(PathBuf),
    /// What came is no status.
    #[error("{} does not speak as an agent does", .0.display())]
    Malformed(PathBuf),
}

impl Listener {
    /// Binds the socket, in place of a dead agent's. It is its owner's alone.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (directory, short) = short(path)?;
        // Before there is a socket, so that none is ever without. Whoever removes a dead one holds
        // it for no longer than that takes.
        let lives = Flock::lock(directory, FlockArg::LockShared).map_err(|(_, error)| error)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(short)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { socket, _lives: lives })
    }

    /// Answers with what `agent` says, until it is dropped.
    pub async fn serve(self, agent: mpsc::Sender<oneshot::Sender<Status>>) {
        loop {
            let Ok((stream, _)) = self.socket.accept().await else {
                // No descriptor is free: others' connections end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (question, answer) = oneshot::channel();
            if agent.send(question).await.is_err() {
                return;
            }
            let Ok(status) = answer.await else { continue };
            if let Err(error) = timeout(PATIENCE, tell(stream, &status)).await {
                debug!(%error, "whoever asked does not listen");
            }
        }
    }
}

async fn tell(mut stream: UnixStream, status: &Status) -> io::Result<()> {
    let text = serde_json::to_vec(status).map_err(io::Error::other)?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// Asks the agent behind a socket. That of one who was killed is removed.
///
/// # Errors
/// See [`StatusError`].
pub async fn read(socket: &Path) -> Result<Status, StatusError> {
    let ask = async {
        let socket = fs::canonicalize(socket)?;
        let (_directory, short) = short(&socket)?;
        let stream = UnixStream::connect(short).await?;
        let mut text = Vec::new();
        stream.take(LONGEST).read_to_end(&mut text).await?;
        io::Result::Ok(text)
    };
    let asked =
        timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let text = asked.map_err(|source| {
        let refused = source.kind() == io::ErrorKind::ConnectionRefused;
        match refused && remove_dead(&base(), socket).is_ok() {
            true => StatusError::Gone(socket.to_owned()),
            false => StatusError::Io { socket: socket.to_owned(), source },
        }
    })?;
    plain::parse(&text).ok_or_else(|| StatusError::Malformed(socket.to_owned()))
}

/// Removes the socket of an agent that lives no more, and the way to it from `base`.
///
/// The agent's directory may be somebody else's, who can put anything in the socket's place, such as
/// a link to a file that he may not touch: nothing but a socket goes, and nothing elsewhere.
pub(super) fn remove_dead(base: &Path, socket: &Path) -> io::Result<()> {
    let real = super::place::followed(base, socket)?;
    let (directory, short) = short(&real)?;
    let alone = Flock::lock(directory, FlockArg::LockExclusiveNonblock);
    let _alone = alone.map_err(|(_, error)| error)?;
    if !fs::symlink_metadata(&short)?.file_type().is_socket() {
        return Err(io::Error::other("it is no socket"));
    }
    fs::remove_file(&short)?;
    if real != socket {
        let _ = fs::remove_file(socket);
    }
    super::place::forget(base, socket);
    Ok(())
}

/// A path that fits into a socket's address, which is 108 bytes long, while the directory is open.
fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let directory = File::open(parent)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((directory, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_the_place_of_a_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (elsewhere, state) = (folder.path().join("elsewhere"), folder.path().join("state"));
        fs::create_dir(&elsewhere).unwrap();
        fs::create_dir(&state).unwrap();
        let (file, dead) = (elsewhere.join("file"), elsewhere.join("socket"));
        fs::write(&file, "precious").unwrap();
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let socket = state.join("control.sock");
        for other in [&file, &dead] {
            std::os::unix::fs::symlink(other, &socket).unwrap();
            let error = read(&socket).await.unwrap_err();
            assert!(matches!(error, StatusError::Io { .. }), "{error}");
            assert!(fs::symlink_metadata(other).is_ok(), "{error}");
            fs::remove_file(&socket).unwrap();
        }
        fs::write(&socket, "").unwrap();
        assert!(matches!(read(&socket).await, Err(StatusError::Io { .. })));
        assert!(socket.exists());
        fs::remove_file(&socket).unwrap();
        // An agent that was killed.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(read(&socket).await, Err(StatusError::Gone(_))));
        assert!(!socket.exists());
    }
}
