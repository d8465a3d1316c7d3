use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_testkit::FakeClock;
use holdfast_types::{Clock as _, SecretBytes, SystemClock};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::*;

fn destination(path: &Path) -> Destination {
    Destination {
        path: path.to_owned(),
        mode: Some(0o640),
        owner: Owner::default(),
        backup: false,
        make_directories: true,
    }
}

fn settings(folder: &Path, names: &[&str]) -> Settings {
    let destinations: Vec<_> = names.iter().map(|name| destination(&folder.join(name))).collect();
    let paths = destinations.iter().map(|destination| destination.path.as_path());
    Settings {
        place: Place::of(paths, "test", Path::new("/nowhere")),
        destinations,
        links: true,
        clock: Arc::new(SystemClock),
    }
}

fn source(version: u64) -> Vec<SourceRecord> {
    let fields = vec!["data.password".to_owned()];
    vec![SourceRecord { path: "kv/data/a".into(), version: Some(version), rotated: None, fields }]
}

fn change(index: usize, text: &str, version: u64) -> Change {
    Change {
        index,
        content: Content::Rendered(SecretBytes::new(text.into())),
        template: format!("template-{index}"),
        sources: source(version),
        leases: Vec::new(),
    }
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn files_appear_with_their_modes_and_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), &["a.env", "tls/key"]);
    settings.destinations[1].mode = None;
    let clock = Arc::new(FakeClock::at(1_800_000_000));
    settings.clock = clock.clone();
    let mut publisher = Publisher::open(settings).unwrap();
    assert_eq!(publisher.number(), 0);
    let published = publisher.publish(vec![change(0, "A=1", 1), change(1, "key", 1)]).unwrap();
    assert!(published.is_new && published.rejected.is_empty(), "{published:?}");
    assert_eq!((published.generation, published.changed), (1, vec![0, 1]));
    for (name, text, mode) in [("a.env", "A=1", 0o640), ("tls/key", "key", 0o600)] {
        let path = folder.path().join(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode, "{name}");
        assert!(fs::read_link(&path).unwrap().is_relative(), "{name}");
    }
    assert!(publisher.has_default_mode(1) && !publisher.has_default_mode(0));

    // Only one changes: the other keeps its file, and the record says since when.
    let published = publisher.publish(vec![change(0, "A=2", 2), change(1, "key", 1)]).unwrap();
    assert_eq!((published.generation, published.changed), (2, vec![0]));
    let since = |index| publisher.file(index).map(|file| (file.since, file.sources[0].version));
    assert_eq!((since(0), since(1)), (Some((2, Some(2))), Some((1, Some(1)))));
    assert_eq!(fs::read_to_string(folder.path().join("a.env")).unwrap(), "A=2");

    // Nothing changes.
    let published = publisher.publish(vec![change(0, "A=2", 2)]).unwrap();
    assert!(!published.is_new && published.changed.is_empty());
    // A new version with the same bytes is worth a record, but no change.
    let published = publisher.publish(vec![change(0, "A=2", 3)]).unwrap();
    assert!(published.is_new && published.changed.is_empty());
    assert_eq!(publisher.file(0).map(|file| file.since), Some(2));

    assert_eq!(publisher.old(), [1, 2]);
    assert!(publisher.retire_below(3).is_empty(), "readers may be on their way");
    // Whatever the clock on the wall is set to.
    clock.set(clock.now() - Duration::from_secs(86_400));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(publisher.retire_below(9), [1, 2]);
    let kept = names_in(&publisher.place().root.join("generations"));
    assert_eq!(kept, BTreeSet::from(["3".to_owned()]));
    assert_eq!(fs::read_to_string(folder.path().join("tls/key")).unwrap(), "key");
}

#[test]
fn the_next_agent_goes_on_where_the_last_one_ended() {
    let folder = tempfile::tempdir().unwrap();
    let open = |names: &[&str]| Publisher::open(settings(folder.path(), names));
    let mut first = open(&["a", "b"]).unwrap();
    first.publish(vec![change(0, "1", 1), change(1, "1", 1)]).unwrap();
    assert!(matches!(open(&["a", "b"]), Err(GenerationError::Locked { .. })));
    let root = first.place().root.clone();
    drop(first);
    // What a crash leaves: a directory half filled, a whole one that was not flipped to.
    fs::create_dir_all(root.join("generations/2.tmp/files")).unwrap();
    fs::create_dir_all(root.join("generations/3/files")).unwrap();

    let mut next = open(&["a", "b"]).unwrap();
    assert_eq!((next.number(), next.read(1)), (1, Some(SecretBytes::new(b"1".into()))));
    assert_eq!(names_in(&root.join("generations")), BTreeSet::from(["1".to_owned()]));
    let published = next.publish(vec![change(0, "2", 2)]).unwrap();
    assert_eq!(published.generation, 4, "no number is used twice");
    assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "1", "carried over");
    drop(next);

    // A template less: its file is not left to dangle.
    let third = open(&["a"]).unwrap();
    assert!(fs::symlink_metadata(folder.path().join("b")).is_err());
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "2");
    assert_eq!(third.number(), 4);
}

#[test]
fn what_stands_there_already_is_replaced_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("regular"), "another agent's").unwrap();
    fs::set_permissions(at("regular"), fs::Permissions::from_mode(0o604)).unwrap();
    symlink("/etc/hostname", at("foreign")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let names = ["regular", "foreign", "directory", "no/where", "fine"];
    let mut settings = settings(folder.path(), &names);
    settings.destinations[0].mode = None;
    settings.destinations[0].backup = true;
    settings.destinations[3].make_directories = false;
    let mut publisher = Publisher::open(settings).unwrap();
    let all = (0..5).map(|index| change(index, "new", 1)).collect();
    let published = publisher.publish(all).unwrap();
    let why: Vec<_> = published
        .rejected
        .iter()
        .map(|reject| (reject.index, reject.problem.to_string()))
        .collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(why[0].0 == 2 && why[0].1.contains("is a directory"), "{why:?}");
    assert!(why[1].0 == 3 && why[1].1.contains("create_dest_dirs"), "{why:?}");
    for name in ["regular", "foreign", "fine"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "new");
        assert_eq!(publisher.placement(0), Some(Placement::Link), "{name}");
    }
    assert_eq!(fs::metadata(at("regular")).unwrap().mode() & 0o7777, 0o604, "as it was");
    assert_eq!(fs::read_to_string(at("regular.bak")).unwrap(), "another agent's");
    assert_ne!(fs::read_to_string("/etc/hostname").unwrap_or_default(), "new");
    // Once the directory is gone the file comes.
    fs::remove_dir(at("directory")).unwrap();
    let published = publisher.publish(vec![change(2, "new", 1)]).unwrap();
    assert!(published.rejected.is_empty(), "{published:?}");
    assert_eq!(fs::read_to_string(at("directory")).unwrap(), "new");
    // And where somebody removes a link, it comes back.
    fs::remove_file(at("fine")).unwrap();
    publisher.publish(Vec::new()).unwrap();
    assert_eq!(fs::read_to_string(at("fine")).unwrap(), "new");
}

/// Somebody who is not root.
const NOBODY: u32 = 65534;

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// What nobody reads at `path`.
fn nobody_reads(path: &Path) -> Option<String> {
    use std::os::unix::process::CommandExt as _;
    let output = Command::new("cat").arg(path).uid(NOBODY).gid(NOBODY).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_somebody_else_made_is_neither_followed_nor_removed() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (app, victim) = (folder.path().join("app"), folder.path().join("victim"));
    fs::create_dir_all(victim.join("tree/below")).unwrap();
    fs::write(victim.join("file"), "").unwrap();
    fs::set_permissions(victim.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(&app).unwrap();
    let fallback = folder.path().join("fallback");
    let place = || Place::of_ours([app.join("a").as_path()], "test", &fallback);
    assert_eq!(place().root, app.join(".holdfast-test"));
    // Below a directory of somebody else's, and at a name that he can foresee.
    give(&app);
    let elsewhere = fallback.join("test");
    assert_eq!(place().root, elsewhere);
    let planted = app.join(".holdfast-test");
    fs::create_dir(&planted).unwrap();
    symlink(&victim, planted.join("generations")).unwrap();
    symlink(victim.join("file"), planted.join("lock")).unwrap();
    give(&planted);
    assert!(Publisher::open(settings(&app, &["a"])).is_err(), "it is somebody else's");
    // As in a directory where everybody may make his own.
    std::os::unix::fs::chown(&app, Some(0), Some(0)).unwrap();
    fs::set_permissions(&app, fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(place().root, elsewhere);
    assert!(Publisher::open(settings(&app, &["a"])).is_err(), "it is somebody else's");
    // A link in the place of ours, whoever it belongs to.
    fs::remove_dir_all(&planted).unwrap();
    fs::create_dir(&planted).unwrap();
    symlink(&victim, planted.join("generations")).unwrap();
    assert!(Publisher::open(settings(&app, &["a"])).is_err(), "it is a link");
    assert!(victim.join("tree/below").is_dir());
    assert_eq!(fs::metadata(victim.join("file")).unwrap().mode() & 0o7777, 0o644);
    // What has no name of a generation is not ours either.
    fs::remove_file(planted.join("generations")).unwrap();
    fs::create_dir_all(planted.join("generations/kept")).unwrap();
    fs::create_dir_all(planted.join("generations/7.tmp/files")).unwrap();
    drop(Publisher::open(settings(&app, &["a"])).unwrap());
    assert_eq!(names_in(&planted.join("generations")), BTreeSet::from(["kept".to_owned()]));
}

#[test]
fn somebody_elses_links_lead_nowhere() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Another file system than that of the generations and of the secret.
    let mounted = Mounted::tmpfs(&folder, "mode=755");
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "of root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let app = folder.path().join("app");
    fs::create_dir_all(&app).unwrap();
    symlink(&secret, app.join("a")).unwrap();
    symlink(elsewhere.path(), app.join("way")).unwrap();
    for path in [app.join("a"), app.join("way"), app.clone()] {
        give(&path);
    }
    let mut settings = settings(&app, &["a", "way/b"]);
    settings.place = Place::inside(&elsewhere.path().join("generations"));
    settings.destinations[0].backup = true;
    settings.destinations[0].mode = None;
    settings.destinations[0].owner = Owner { user: Some(NOBODY), group: None };
    let mut publisher = Publisher::open(settings).unwrap();
    let published = publisher.publish(vec![change(0, "new", 1), change(1, "new", 1)]).unwrap();
    assert_eq!(published.rejected.len(), 1, "{published:?}");
    assert!(published.rejected[0].index == 1, "{published:?}");
    assert!(!elsewhere.path().join("b").exists(), "nothing is placed behind his link");
    assert_eq!(fs::read_link(app.join("a.bak")).unwrap(), secret, "the link is kept as a link");
    assert_eq!(nobody_reads(&app.join("a.bak")), None);
    assert_eq!(fs::read_to_string(app.join("a")).unwrap(), "new");
    drop((publisher, mounted));
}

#[test]
fn a_generation_lets_in_whom_the_directories_of_its_files_do() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let names = ["public.conf", "private/tls.key", "his/own/key", "way/key"];
    for (name, mode, is_his) in [
        ("private", 0o700, false),
        ("his", 0o750, true),
        ("his/own", 0o700, true),
        ("closed", 0o700, false),
        ("closed/inner", 0o755, false),
    ] {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if is_his {
            give(&path);
        }
    }
    symlink("closed/inner", folder.path().join("way")).unwrap();
    for inside in [false, true] {
        let mut settings = settings(folder.path(), &names);
        let elsewhere = tempfile::tempdir().unwrap();
        if inside {
            fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
            settings.place = Place::inside(&elsewhere.path().join("test"));
        }
        for destination in &mut settings.destinations {
            destination.mode = Some(0o644);
        }
        let mut publisher = Publisher::open(settings).unwrap();
        for round in 1..3 {
            let text = format!("secret {round}");
            let all = (0..4).map(|index| change(index, &text, round)).collect();
            let published = publisher.publish(all).unwrap();
            assert!(published.rejected.is_empty(), "{published:?}");
            for (index, (name, his)) in names.iter().zip([true, false, true, false]).enumerate() {
                let path = publisher.place().name(&folder.path().join(name)).to_owned();
                let path =
                    publisher.place().current().join(path.strip_prefix("/").unwrap_or(&path));
                let want = his.then(|| text.clone());
                assert_eq!(nobody_reads(&path), want, "{name}");
                assert_eq!(nobody_reads(&folder.path().join(name)), want, "{name}");
                assert_eq!(publisher.read(index), Some(SecretBytes::new(text.clone().into())));
            }
        }
        // And goes all the same.
        let generations = publisher.place().root.join("generations");
        Folder::open(&generations).unwrap().remove_tree("1").unwrap();
        assert_eq!(names_in(&generations), BTreeSet::from(["2".to_owned()]));
    }
}

#[test]
fn a_file_that_somebody_removed_holds_back_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut publisher = Publisher::open(settings(folder.path(), &["a", "b"])).unwrap();
    publisher.publish(vec![change(0, "1", 1), change(1, "1", 1)]).unwrap();
    fs::remove_file(publisher.place().current().join("b")).unwrap();
    let published = publisher.publish(vec![change(0, "2", 2)]).unwrap();
    let [Rejected { index: 1, problem: Problem::Gone(_) }] = &published.rejected[..] else {
        panic!("{published:?}")
    };
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "2");
    let published = publisher.publish(vec![change(1, "1", 1)]).unwrap();
    assert!(published.rejected.is_empty(), "{published:?}");
    assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "1");
}

#[test]
fn without_links_each_file_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), &["a"]);
    settings.links = false;
    let mut publisher = Publisher::open(settings).unwrap();
    for text in ["one", "two"] {
        publisher.publish(vec![change(0, text, 1)]).unwrap();
        let path = folder.path().join("a");
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file() && metadata.mode() & 0o7777 == 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(publisher.placement(0), Some(Placement::Copy));
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let small = Mounted::tmpfs(&folder, "size=256k,nr_inodes=64");
    let mut publisher = Publisher::open(settings(folder.path(), &["a", "b"])).unwrap();
    publisher.publish(vec![change(0, "old", 1), change(1, "old", 1)]).unwrap();
    assert!(is_memory(folder.path()).unwrap());
    let large = "x".repeat(300 << 10);
    let error = publisher.publish(vec![change(0, "new", 2), change(1, &large, 2)]).unwrap_err();
    let GenerationError::Io { what: "write", source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(nix::libc::ENOSPC));
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "old");
    }
    // What was half written takes no space: the next fits.
    publisher.publish(vec![change(0, &large[..150 << 10], 3)]).unwrap();
    assert_eq!(publisher.number(), 2);
    drop((publisher, small));
}

#[test]
fn where_links_are_not_followed_files_are_copied() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::tmpfs(&folder, "");
    // MS_NOSYMFOLLOW, of Linux 5.10, which nix does not name. The generations lie elsewhere.
    let follow_none = nix::mount::MsFlags::from_bits_retain(256 | 32);
    let remounted =
        nix::mount::mount(None::<&str>, folder.path(), None::<&str>, follow_none, None::<&str>);
    remounted.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), &["a"]);
    settings.place = Place::inside(elsewhere.path());
    let mut publisher = Publisher::open(settings).unwrap();
    publisher.publish(vec![change(0, "text", 1)]).unwrap();
    assert_eq!(publisher.placement(0), Some(Placement::Copy));
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "text");
    drop(mounted);
}

/// A file system in memory, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(folder: &TempDir, options: &str) -> Self {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("t"), folder.path(), Some("tmpfs"), flags, Some(options)).unwrap();
        Self(folder.path().to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

const FILES: usize = 5;

fn names() -> Vec<String> {
    (0..FILES).map(|index| format!("file-{index}")).collect()
}

fn open(folder: &Path) -> Publisher {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Publisher::open(settings(folder, &names)).unwrap()
}

/// A file's text: its round, long enough that it is not written in one piece, and an end.
fn text(round: u64) -> String {
    let mut text = format!("{round}\n").repeat(3000);
    text.push_str("end");
    text
}

/// The round that `text` is of. None where it is not whole.
fn round_of(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let round = lines.next()?.parse().ok()?;
    (text == self::text(round)).then_some(round)
}

fn round_below(handle: BorrowedFd<'_>, name: &str) -> nix::Result<u64> {
    let mut text = String::new();
    let file = openat(handle, name, OFlag::O_RDONLY, Mode::empty())?;
    fs::File::from(file).read_to_string(&mut text).expect("a file that is open can be read");
    Ok(round_of(&text).expect("a whole file"))
}

#[test]
fn readers_see_whole_files_and_one_moment_through_a_handle() {
    let folder = tempfile::tempdir().unwrap();
    let mut publisher = open(folder.path());
    let publish = |publisher: &mut Publisher, round| {
        let all = (0..FILES).map(|index| change(index, &text(round), round)).collect();
        publisher.publish(all).unwrap();
        publisher.retire_below(publisher.number() - 1);
    };
    publish(&mut publisher, 1);
    let (stop, by_path, by_handle) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let current = publisher.place().current();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut newest = 0;
            while !stop.load(Ordering::Relaxed) {
                for name in names() {
                    let seen = fs::read_to_string(folder.path().join(&name)).expect("a file");
                    let round = round_of(&seen).expect("a whole file");
                    assert!(round >= newest, "time goes forward by path");
                    newest = round;
                    by_path.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let handle = fs::File::open(&current).expect("a generation");
                let seen: nix::Result<BTreeSet<u64>> =
                    names().iter().map(|name| round_below(handle.as_fd(), name)).collect();
                match seen {
                    Ok(rounds) => {
                        assert_eq!(rounds.len(), 1, "{rounds:?}");
                        by_handle.fetch_add(1, Ordering::Relaxed);
                    }
                    // It was so slow that its generation is gone: it opens the next.
                    Err(nix::errno::Errno::ENOENT) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let enough =
            || by_path.load(Ordering::Relaxed) > 500 && by_handle.load(Ordering::Relaxed) > 100;
        let mut round = 1;
        while round < 400 || !enough() {
            assert!(Instant::now() < deadline, "the readers do not get on");
            round += 1;
            publish(&mut publisher, round);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// The other side of the next test: publishes for ever. By itself it does nothing.
#[test]
fn publish_until_killed() {
    let Some(folder) = std::env::var_os("HOLDFAST_TEST_PUBLISH") else { return };
    let mut publisher = open(Path::new(&folder));
    let mut round = publisher.number();
    loop {
        round += 1;
        let all = (0..FILES).map(|index| change(index, &text(round), round)).collect();
        publisher.publish(all).unwrap();
        publisher.retire_below(publisher.number());
        println!("round {round}");
        io::stdout().flush().unwrap();
    }
}

#[test]
fn a_kill_leaves_a_whole_generation() {
    let folder = tempfile::tempdir().unwrap();
    let mut reached = 0;
    for kill in 0..20_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "generation::tests::publish_until_killed", "--nocapture"])
            .env("HOLDFAST_TEST_PUBLISH", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Some rounds, then some part of one: the kill falls anywhere.
        let mut output = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        while seen.iter().filter(|byte| **byte == b'\n').count() < 3 + kill as usize % 4 {
            let mut byte = [0];
            assert_eq!(output.read(&mut byte).unwrap(), 1, "the publisher ended");
            seen.push(byte[0]);
        }
        std::thread::sleep(Duration::from_micros(u64::from(kill * 137 % 1000)));
        child.kill().unwrap();
        child.wait().unwrap();

        let by_path = |name: &String| {
            round_of(&fs::read_to_string(folder.path().join(name)).unwrap()).expect("a whole file")
        };
        let rounds: BTreeSet<u64> = names().iter().map(by_path).collect();
        assert_eq!(rounds.len(), 1, "files of two generations: {rounds:?}");
        let publisher = open(folder.path());
        let round = rounds.into_iter().next().unwrap();
        assert!(round > reached, "it got on");
        reached = round;
        assert!(
            !names_in(&publisher.place().root.join("generations"))
                .iter()
                .any(|name| name.ends_with(".tmp"))
        );
        let versions: BTreeSet<_> =
            (0..FILES).map(|index| publisher.file(index).unwrap().sources[0].version).collect();
        assert_eq!(versions, BTreeSet::from([Some(round)]), "the record is of these files");
    }
}
