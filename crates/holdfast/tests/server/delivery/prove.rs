//! Rotations under readers that never rest, while agent and server are killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde_json::json;

use super::world::{Program, World};
use crate::process::Server;

/// How many rotations; `cargo xtask prove delivery` asks for 1,000.
const ROTATIONS: u64 = 30;
const FILES: usize = 50;
/// Each file holds its round this often, so that half of one shows.
const LINES: usize = 200;

/// The round that a file is of. None where it is not whole.
fn round_of(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let first = lines.next()?;
    let whole = lines.clone().count() == LINES && lines.all(|line| line == first || line == "end");
    (whole && text.ends_with("end\n")).then(|| first.parse().ok()).flatten()
}

struct Readers {
    stop: Arc<AtomicBool>,
    by_path: Arc<AtomicU64>,
    by_handle: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Readers {
    fn start(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let by_path = Arc::new(AtomicU64::new(0));
        let by_handle = Arc::new(AtomicU64::new(0));
        let names = || (0..FILES).map(|index| format!("file-{index}"));
        let (its_stop, its_count, its_folder) = (stop.clone(), by_path.clone(), folder.clone());
        let paths = std::thread::spawn(move || {
            let mut newest = vec![0; FILES];
            while !its_stop.load(Ordering::Relaxed) {
                for (name, newest) in names().zip(&mut newest) {
                    let text = fs::read_to_string(its_folder.join(&name)).expect("a file");
                    let round = round_of(&text).expect("a whole file by its path");
                    assert!(round >= *newest, "{name} went back from {newest} to {round}");
                    *newest = round;
                    its_count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let (its_stop, its_count) = (stop.clone(), by_handle.clone());
        let handles = std::thread::spawn(move || {
            while !its_stop.load(Ordering::Relaxed) {
                let mut root = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
                let is_root = |path: &PathBuf| path.join("current").exists();
                let Some(root) = root.find(is_root) else { continue };
                let Ok(handle) = fs::File::open(root.join("current")) else { continue };
                let read = |name: String| {
                    let file =
                        openat(handle.as_fd(), name.as_str(), OFlag::O_RDONLY, Mode::empty())?;
                    let mut text = String::new();
                    fs::File::from(file).read_to_string(&mut text).expect("it is open");
                    nix::Result::Ok(round_of(&text).expect("a whole file by a handle"))
                };
                // A generation that is gone is no half of one: the reader opens the next.
                if let Ok(rounds) = names().map(read).collect::<nix::Result<BTreeSet<_>>>() {
                    assert_eq!(rounds.len(), 1, "moments through one handle: {rounds:?}");
                    its_count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, by_path, by_handle, threads: vec![paths, handles] }
    }

    /// Ends them. What they saw wrong fails the test.
    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("readers saw nothing wrong");
        }
        (self.by_path.load(Ordering::Relaxed), self.by_handle.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_under_kills_show_no_half() {
    let rotations = std::env::var("HOLDFAST_PROVE_ROTATIONS");
    let rotations = rotations.map_or(ROTATIONS, |number| number.parse().expect("a number"));
    let mut server = Server::new().await;
    let address = format!("unix://{}", server.folder().join("server.sock").display());
    let token = server.client().token().unwrap().expose().clone();
    let world = World::at(address, &token, None).await;
    let mut config = String::from("template_config { static_secret_render_interval = \"2s\" }\n");
    for index in 0..FILES {
        let lines = "{{ range loop ".to_owned() + &LINES.to_string();
        config.push_str(&format!(
            r#"
            template {{
              contents    = "{{{{ with secret \"kv/app\" }}}}{{{{ $n := .Data.data.n }}}}{lines} }}}}{{{{ $n }}}}\n{{{{ end }}}}end\n{{{{ end }}}}"
              destination = "FOLDER/agent/file-{index}"
              perms       = "0600"
            }}
            "#
        ));
    }
    world.put("app", json!({ "n": "1" })).await;
    let mut agent = world.agent(Program::Ours, "agent", &config);
    let is_on = |round: u64| {
        let text = world.text(&format!("agent/file-{}", FILES - 1));
        round_of(&text) == Some(round)
    };
    super::world::until("the first files", &agent, || is_on(1)).await;
    let readers = Readers::start(world.path("agent"));
    // A fixed sequence, so that a failure can be looked at again.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let (mut agents, mut servers) = (0, 0);
    for round in 2..=rotations + 1 {
        world.put("app", json!({ "n": round.to_string() })).await;
        match chance() % 10 {
            0 | 1 => {
                // Anywhere between hearing of it and telling of it.
                tokio::time::sleep(Duration::from_micros(chance() % 15_000)).await;
                agent.kill();
                agents += 1;
                agent.start();
            }
            2 => {
                tokio::time::sleep(Duration::from_micros(chance() % 5_000)).await;
                server.kill();
                servers += 1;
                server.start().await;
            }
            _ => {}
        }
        super::world::until(&format!("round {round}"), &agent, || is_on(round)).await;
    }
    let (by_path, by_handle) = readers.end();
    println!(
        "{rotations} rotations of {FILES} files; agent killed {agents} times, server {servers}; \
         {by_path} files read by path, {by_handle} generations through a handle"
    );
    assert!(agents > 0 && servers > 0 && by_path > 1000 && by_handle > 20);
}
