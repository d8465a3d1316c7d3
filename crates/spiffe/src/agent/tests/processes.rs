//! A caller that is not what it was while its stream is open. The connection stays open all the time:
//! another process holds it, too.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Blocking;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::*;

/// Where the other process connects.
const CONNECT: &str = "HOLDFAST_TEST_CONNECT";

/// A process that has connected, and handed its connection on.
struct Caller {
    process: Child,
    line: Blocking,
    connection: Blocking,
}

impl Caller {
    fn start(socket: &Path) -> Self {
        let (line, theirs) = Blocking::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "agent::tests::processes::connects_for_another_test"]);
        command.env(CONNECT, socket).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut byte)];
        recvmsg(&line, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let passed = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
            _ => None,
        });
        let connection = Blocking::from(passed.expect("a connection"));
        Self { process, line, connection }
    }

    /// Speaks over the connection, whose other end takes us for the process that made it.
    async fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        let stream = self.connection.try_clone().unwrap();
        stream.set_nonblocking(true).unwrap();
        let once = Mutex::new(Some(UnixStream::from_std(stream).unwrap()));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().unwrap().take();
            let none = || std::io::Error::other("it connects once");
            async move { stream.map(TokioIo::new).ok_or_else(none) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        SpiffeWorkloadApiClient::new(endpoint.connect_with_connector(connector).await.unwrap())
    }

    /// It executes another program.
    fn execute(&mut self) {
        // It shows none while the thread that executes takes the place of the first one.
        let program = || std::fs::read_link(format!("/proc/{}/exe", self.process.id())).ok();
        let before = program().expect("it lives");
        (&self.line).write_all(b"x").unwrap();
        while program().is_none_or(|program| program == before) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test of its own: the other process of those below.
#[test]
fn connects_for_another_test() {
    let Some(socket) = std::env::var_os(CONNECT) else { return };
    let connection = Blocking::connect(socket).unwrap();
    let descriptors = [connection.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let line = std::io::stdin();
    sendmsg(&line, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    let mut byte = [0];
    if std::io::stdin().read(&mut byte).unwrap() == 1 {
        panic!("{}", Command::new("sleep").arg("1000").exec());
    }
}

#[tokio::test]
async fn the_streams_of_a_process_that_dies_end() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut caller = Caller::start(&world.socket());
    let mut client = caller.client().await;
    let stream = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    let mut stream = stream.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().svids.len(), 1);
    caller.process.kill().unwrap();
    let end = tokio::time::timeout(Duration::from_secs(60), stream.message()).await;
    assert!(matches!(end, Ok(Ok(None))), "{end:?}");
    caller.process.wait().unwrap();
    // Who holds the connection now has no identity by it.
    let status = match client.fetch_x509svid(with_header(X509svidRequest {})).await {
        Ok(stream) => stream.into_inner().message().await.map(|told| told.is_none()),
        Err(status) => Err(status),
    };
    assert!(
        matches!(&status, Ok(true))
            || status.as_ref().is_err_and(|it| it.code() == Code::Unavailable),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_process_that_executes_another_program_gets_what_is_that_programs() {
    let own = own();
    let program = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    let of_program = [own.as_str(), program.as_str()];
    let world = World::start(&[("a", "/a", &of_program)]);
    let mut caller = Caller::start(&world.socket());
    let mut client = caller.client().await;
    let stream = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    let mut stream = stream.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().svids.len(), 1);
    caller.execute();
    world.server.register(&[("a", "/a", &of_program), ("b", "/b", &of_program)]);
    let end = tokio::time::timeout(Duration::from_secs(60), stream.message()).await;
    let status = end.expect("in time").expect_err("it is another program's");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    // This process still is what it was.
    let mut own_stream = world.x509().await.unwrap();
    assert!(!own_stream.message().await.unwrap().unwrap().svids.is_empty());
}
