//! What can be wrong before a start: one sentence each, with what to do.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::world::{Who, World, both};

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let world = World::managed(Who::Caller);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = world.config();
    world.write_config(&config.replacen("127.0.0.1:0", &address.to_string(), 1));
    let said = world.fail(&mut world.up_command());
    assert!(said.contains(&format!("holdfast: {address} is taken by ")), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    assert!(said.contains("set vault.listen to another port"), "{said}");
    assert_eq!(world.processes(), Vec::<i32>::new(), "nothing stays behind");
}

#[test]
fn a_mistake_in_the_file_is_shown_with_its_line() {
    let world = World::managed(Who::Caller);
    world.write_config("name = \"test\"\ntrust_domain = \"d\"\n[vault]\nengin = \"managed\"\n");
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("did you mean `engine`?"), "{said}");
    assert!(said.contains(":4:1]"), "the line: {said}");
}

#[test]
fn a_wrong_directory_is_told_from_a_missing_one() {
    let world = World::managed(Who::Caller);
    let up = |platform: &str| {
        let mut command = world.command(world.path("bin/holdfast"));
        world.fail(command.arg("up").arg(platform))
    };
    assert_eq!(up("plaform"), "holdfast: there is no platform directory plaform\n");
    let said = up(".");
    assert!(said.starts_with("holdfast: DIR/home is no platform directory: it has no "), "{said}");
    let said = up(&world.platform().join("holdfast.toml").display().to_string());
    assert!(said.ends_with("is a file; name the platform directory that it is in\n"), "{said}");
}

#[test]
fn a_misspelt_part_is_answered_with_the_closest() {
    let world = World::embedded(Who::Caller);
    world.up();
    for verb in ["logs", "restart"] {
        let said = world.fail(&mut world.verb(verb, &["postgre"]));
        assert!(said.contains("postgre; did you mean postgres?"), "{said}");
        let said = world.fail(&mut world.verb(verb, &["nonsense"]));
        assert!(said.contains("nonsense; there are "), "{said}");
    }
}

#[test]
fn a_full_disk_is_told_with_what_to_do() {
    let world = World::embedded(Who::Caller);
    // Not everybody can mount one, nor root in every container; the sentence itself has a test of
    // its own.
    let Some(disk) = SmallDisk::mount(world.path("disk")) else { return };
    let state = disk.0.join("state");
    let up = || {
        let mut command = world.command(world.path("bin/holdfast"));
        command.arg("up").arg(world.platform()).arg("--state").arg(&state);
        world.fail(command.arg("--seal-file").arg(world.seal_key()))
    };
    let small = up();
    assert!(small.starts_with("holdfast: the disk under DIR/disk/state has "), "{small}");
    assert!(small.contains("MB left, and a start needs 128 MB; make room, or choose"), "{small}");
    assert_eq!(small.lines().count(), 1, "{small}");

    // Not a byte left, not even for the supervisor's log.
    let filled = fs::write(disk.0.join("fill"), vec![0; 64 << 20]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    for _ in 0..2 {
        let full = up();
        assert!(full.starts_with("holdfast: the disk under DIR/disk/state has 0 MB"), "{full}");
        assert_eq!(full.lines().count(), 1, "{full}");
        // From nothing, too.
        let _ = fs::remove_dir_all(&state);
    }
}

/// A file system of 32 MB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&at).output().unwrap();
        mounted.status.success().then(|| Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_state_directory_that_is_not_ours_is_left_alone() {
    let world = World::managed(Who::Caller);
    fs::create_dir(world.state()).unwrap();
    fs::write(world.state().join("thesis.tex"), "").unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("DIR/state holds something else already"), "{said}");
    fs::remove_file(world.state().join("thesis.tex")).unwrap();

    if Uid::effective().is_root() {
        chown(world.state(), Some(1), Some(1)).unwrap();
        let said = world.fail(&mut world.up_command());
        assert!(said.contains("DIR/state belongs to daemon, not to root"), "{said}");
    }
    fs::remove_dir(world.state()).unwrap();
}

#[test]
fn a_missing_key_and_a_half_made_state_are_named() {
    let world = World::managed(Who::Caller);
    world.up();
    let second = world.up();
    assert!(second.contains("It was up already."), "{second}");
    world.run("down", &[]);

    let key = fs::read(world.seal_key()).unwrap();
    fs::remove_file(world.seal_key()).unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("the seal key DIR/home/seal-key/test.seal is gone"), "{said}");
    let worst = world.status()["worst"]["fact"].as_str().unwrap().to_owned();
    assert!(worst.contains("is gone, and nothing opens without it"), "{worst}");

    fs::write(world.seal_key(), key).unwrap();
    fs::set_permissions(world.seal_key(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("can be read by others (mode 0644)"), "{said}");
    fs::set_permissions(world.seal_key(), fs::Permissions::from_mode(0o600)).unwrap();

    let record = fs::read_to_string(world.state().join("state.json")).unwrap();
    let newer = record.replacen("\"format\": 1", "\"format\": 9", 1);
    fs::write(world.state().join("state.json"), newer).unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(
        said.contains("was written by a newer holdfast (format 9; this one knows 1)"),
        "{said}"
    );
    fs::remove_file(world.state().join("state.json")).unwrap();
    let said = world.fail(&mut world.up_command());
    assert!(said.contains("holds keys but no state.json"), "{said}");
    fs::write(world.state().join("state.json"), record).unwrap();
    world.up();
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let world = World::managed(Who::Caller);
    let (right, wrong) = (world.path("right"), world.path("wrong"));
    fs::write(&right, "correct horse battery\n").unwrap();
    fs::write(&wrong, "incorrect horse battery\n").unwrap();
    let up = |file: &std::path::Path| {
        let mut command = world.up_command();
        command.arg("--passphrase-file").arg(file).stdin(Stdio::null());
        command
    };
    world.succeed(up(&right).args(["--seal", "passphrase"]));
    let seal = world.status()["seal"].as_str().unwrap().to_owned();
    assert!(seal.starts_with("under a passphrase, in "), "{seal}");
    world.run("down", &[]);
    let said = world.fail(&mut up(&wrong));
    assert!(said.contains("the passphrase is not the one"), "{said}");
    let said = world.fail(world.up_command().stdin(Stdio::null()));
    assert!(said.contains("give it with --passphrase-file"), "{said}");
    world.succeed(&mut up(&right));
    // No process shows it.
    for pid in world.processes() {
        for name in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains("horse"), "{name} of {pid}");
        }
    }
}

#[test]
fn a_stranger_gets_no_token() {
    if !Uid::effective().is_root() {
        // Another user is needed, whom only root can become.
        return;
    }
    let world = World::managed(Who::Caller);
    world.up();
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=1", "--regid=1", "--clear-groups", "--"]);
    stranger.arg(world.path("bin/holdfast")).arg("login").arg(world.platform());
    stranger.arg("--state").arg(world.state()).env("HOME", "/tmp");
    let output = stranger.output().unwrap();
    assert!(!output.status.success());
    assert!(
        both(&output).contains("only its owner, root and members of the group"),
        "{}",
        both(&output)
    );
}
