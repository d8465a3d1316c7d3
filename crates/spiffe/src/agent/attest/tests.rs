use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;

/// A process that waits until its input closes, and then does what `script` says.
fn waiting(script: &str) -> Child {
    let script = format!("read -r line; {script}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn attest(attestor: &Attestor, pid: u32) -> Result<Attested, AttestError> {
    attestor.attest(&Peer::open(pid as i32)?, true)
}

fn has(attested: &Attested, text: &str) -> bool {
    attested.selectors.contains(&Selector::parse(text).unwrap())
}

#[test]
fn a_peer_is_who_connected() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    let _client = UnixStream::connect(directory.path().join("socket")).unwrap();
    let (server, _) = listener.accept().unwrap();
    let peer = Peer::of(&server).unwrap();
    assert_eq!(peer.pid(), std::process::id() as i32);

    let attested = Attestor::new(None, None).attest(&peer, true).unwrap();
    let uid = nix::unistd::geteuid();
    let path = std::env::current_exe().unwrap();
    assert!(has(&attested, &format!("unix:uid:{uid}")), "{attested:?}");
    assert!(has(&attested, &format!("unix:path:{}", path.display())), "{attested:?}");
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &std::fs::read(path).unwrap());
    assert!(has(&attested, &format!("unix:sha256:{}", hex::encode(digest))), "{attested:?}");
    assert_eq!(attested.gaps, Vec::<String>::new());
}

#[test]
fn a_process_that_ended_is_not_attested_and_its_end_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut child = waiting("");
    let peer = Peer::open(child.id() as i32).unwrap();
    let attestor = Attestor::new(None, None);
    let attested = attestor.attest(&peer, false).unwrap();
    attestor.is_still(&peer, &attested).unwrap();
    runtime.block_on(async {
        let ending = peer.watch().unwrap();
        drop(child.stdin.take());
        ending.wait().await;
    });
    // A zombie is gone as well.
    assert!(matches!(attestor.attest(&peer, false), Err(AttestError::Gone)));
    assert!(matches!(attestor.is_still(&peer, &attested), Err(AttestError::Gone)));
    child.wait().unwrap();
    assert!(matches!(attest(&attestor, child.id()), Err(AttestError::Gone)));
}

#[test]
fn a_number_that_went_to_another_process_is_nobodys() {
    let (mut first, mut second) = (waiting(""), waiting(""));
    let attestor = Attestor::new(None, None);
    let peer = Peer::open(first.id() as i32).unwrap().renumbered(second.id() as i32);
    first.kill().unwrap();
    first.wait().unwrap();
    // Whoever has the number now lives, and is not taken for the one who connected.
    attest(&attestor, second.id()).unwrap();
    assert!(matches!(attestor.attest(&peer, false), Err(AttestError::Gone)));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_process_that_executes_another_program_is_noticed() {
    let mut child = waiting("echo; exec sleep 1000");
    let peer = Peer::open(child.id() as i32).unwrap();
    let attestor = Attestor::new(None, None);
    // It may still be this test's own program.
    let sleep =
        Program::at(Path::new("/usr/bin/sleep")).or_else(|_| Program::at(Path::new("/bin/sleep")));
    let sleep = sleep.unwrap();
    let attested = attestor.attest(&peer, false).unwrap();
    assert_ne!(attested.program, sleep);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    while Program::of(peer.pid()).unwrap() != sleep {
        std::thread::yield_now();
    }
    assert!(matches!(attestor.is_still(&peer, &attested), Err(AttestError::Executed)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_path_that_a_mount_of_another_namespace_gives_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (believed, own) = (directory.join("believed"), directory.join("own"));
    for path in [&believed, &own] {
        std::fs::copy("/bin/sh", path).unwrap();
    }
    let attestor = Attestor::new(None, None);
    let claims = format!("unix:path:{}", believed.display());
    let run = |program: &Path| {
        let mut command = Command::new(program);
        command.args(["-c", "echo; read -r line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        child
    };
    let end = |mut child: Child| {
        drop(child.stdin.take());
        child.wait().unwrap();
    };

    // Somebody without rights puts his own program in the place of another, in a namespace of his
    // own, and executes it from outside of that. Its path is the other's.
    let script = "mount --bind \"$0\" \"$1\" && echo && read -r line";
    let mut elsewhere = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .args([&own, &believed])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    if elsewhere.stdout.take().unwrap().read_exact(&mut [0]).is_err() {
        // Where nobody may make a namespace, nobody can do that.
        elsewhere.wait().unwrap();
        return;
    }
    std::fs::remove_file(&own).unwrap();
    let root = Path::new("/proc").join(elsewhere.id().to_string()).join("root");
    let stranger = run(&root.join(believed.strip_prefix("/").unwrap()));
    let link = std::fs::read_link(format!("/proc/{}/exe", stranger.id())).unwrap();
    assert_eq!(link.to_str(), Some(&*format!("{} (deleted)", believed.display())));
    let attested = attest(&attestor, stranger.id()).unwrap();
    assert!(!has(&attested, &claims), "{attested:?}");
    end(stranger);
    end(elsewhere);

    // The real one, whose file was replaced while it runs.
    let replaced = run(&believed);
    std::fs::remove_file(&believed).unwrap();
    std::fs::copy("/bin/sh", &believed).unwrap();
    let attested = attest(&attestor, replaced.id()).unwrap();
    assert!(has(&attested, &claims), "{attested:?}");
    end(replaced);
}

#[test]
fn services_are_who_the_supervisor_introduces_and_their_descendants() {
    let (introducer, theirs) = Introducer::pair().unwrap();
    let attestor = Attestor::new(Some(Introductions::new(theirs)), None);
    let mut service = waiting("");
    let mut stranger = waiting("");
    let sh = std::fs::canonicalize("/bin/sh").unwrap();
    let pidfd = |child: &Child| {
        pidfd_open(Pid::from_raw(child.id() as i32).unwrap(), PidfdFlags::empty()).unwrap()
    };
    let is_service = |pid: u32| has(&attest(&attestor, pid).unwrap(), "holdfast:service:web");
    assert!(!is_service(service.id()));
    introducer.introduce("web", &pidfd(&service), &sh, None).unwrap();
    assert_eq!(attestor.service("web").unwrap().pid(), service.id() as i32);
    // Until it executes, the child is this test's own program, and nobody.
    while !is_service(service.id()) {
        std::thread::yield_now();
    }
    assert!(!is_service(stranger.id()));
    assert!(attestor.service("other").is_none());

    service.kill().unwrap();
    service.wait().unwrap();
    assert!(attestor.service("web").is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_child_of_a_service_is_the_service_while_it_lives() {
    let (introducer, theirs) = Introducer::pair().unwrap();
    let attestor = Attestor::new(Some(Introductions::new(theirs)), None);
    let own = pidfd_open(Pid::from_raw(std::process::id() as i32).unwrap(), PidfdFlags::empty());
    let exe = std::env::current_exe().unwrap();
    let mut child = waiting("");
    assert!(!has(&attest(&attestor, child.id()).unwrap(), "holdfast:service:web"));
    introducer.introduce("web", &own.unwrap(), &exe, None).unwrap();
    assert!(has(&attest(&attestor, child.id()).unwrap(), "holdfast:service:web"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_no_introduction_is_passed_over() {
    let (introducer, theirs) = Introducer::pair().unwrap();
    let attestor = Attestor::new(Some(Introductions::new(theirs)), None);
    let file = tempfile::tempfile().unwrap();
    introducer.introduce("web", &file, Path::new("/bin/sh"), None).unwrap();
    let own = pidfd_open(Pid::from_raw(std::process::id() as i32).unwrap(), PidfdFlags::empty());
    introducer.introduce("self", &own.unwrap(), Path::new("/x"), None).unwrap();
    assert!(attestor.service("web").is_none());
    assert!(attestor.service("self").is_some());
    drop(introducer);
    assert!(attestor.service("self").is_some(), "it was introduced, whoever did it");
}
