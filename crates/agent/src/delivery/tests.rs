//! Delivery without a server: a test answers in its place, and sees which leases are given back.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use holdfast_client::vault::VaultConfig;
use holdfast_testkit::FakeClock;
use holdfast_types::SystemRandom;
use tempfile::TempDir;

use super::*;
use crate::config::{self, Overrides};
use crate::session::Login;
use crate::store::{Answer, Request, Work};

/// A delivery, and a folder for which `FOLDER` stands in its configuration.
struct World {
    folder: TempDir,
    delivery: Delivery,
    /// Counts the credentials that were given out.
    given: u32,
}

impl World {
    fn new(config: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), config)
    }

    fn within(folder: TempDir, config: &str) -> Self {
        let text = format!(
            r#"
            vault {{ address = "http://127.0.0.1:1" }}
            auto_auth {{ method "token_file" {{ config = {{ token_file_path = "/nowhere" }} }} }}
            {config}
            "#
        );
        let path = folder.path().join("agent.hcl");
        fs::write(&path, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let config = config::load(std::slice::from_ref(&path), &Overrides::default()).unwrap();
        let client = VaultClient::new(&VaultConfig::new("http://127.0.0.1:1".parse().unwrap()));
        let login = Login {
            generation: 1,
            client: client.unwrap(),
            accessor: String::new(),
            expires: None,
        };
        let clock = Arc::new(FakeClock::at(1_800_000_000));
        let settings = Settings {
            config: config.into(),
            state: StatePlace::of(&[path], Some(&folder.path().join("state"))),
            session: Session::fixed(State::LoggedIn(login)),
            clock,
            random: Arc::new(SystemRandom),
            launcher: None,
        };
        let mut delivery = Delivery::build(settings).unwrap();
        delivery.follow_login();
        Self { folder, delivery, given: 0 }
    }

    fn now(&self) -> Moment {
        self.delivery.moment()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Answers all that is asked until nothing is, and renders: each credential with a lease of its
    /// own, of a secret what `flags` says.
    fn turn(&mut self, flags: &str) {
        loop {
            // What is rendered may ask for more.
            self.delivery.render();
            let now = self.now();
            let tasks = self.delivery.core.start(now);
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                let done = self.answer(&task.work, flags);
                self.delivery.finish(Finished::Task(task.id, Ok(done), 1));
            }
        }
    }

    fn answer(&mut self, work: &Work, flags: &str) -> Done {
        let Work::Ask(request) = work else { panic!("nothing is renewed: {work:?}") };
        let body = match request {
            Request::Mount { path } => {
                let top = path.split('/').next().unwrap_or_default();
                let kv = (top == "kv").then_some(1);
                return Done::Mount(crate::store::Mount { path: format!("{top}/"), kv });
            }
            request if request.path().starts_with("kv/") => format!(r#"{{"data":{flags}}}"#),
            request => {
                self.given += 1;
                format!(
                    r#"{{"lease_id":"{}/{n}","lease_duration":60,"renewable":false,
                        "data":{{"password":"p{n}"}}}}"#,
                    request.path(),
                    n = self.given
                )
            }
        };
        Done::Answer(Answer::parse(body.as_bytes()).unwrap())
    }

    /// The leases that were given back since this was last asked.
    async fn revoked(&mut self) -> Vec<String> {
        self.delivery.retire();
        let mut revoked = Vec::new();
        while let Some(finished) = self.delivery.tasks.join_next().await {
            if let Finished::Revoked(lease, _) = finished.unwrap() {
                revoked.push(lease.id);
            }
        }
        revoked.sort();
        revoked
    }

    /// Has everything under `path` asked anew.
    fn changed(&mut self, path: &str) {
        let now = self.now();
        self.delivery.core.changed(path, now);
    }
}

const FLAGS_FIRST: &str = r#"
    template {
      contents = "{{ with secret \"kv/flags\" }}{{ .Data.a }}{{ end }} {{ with secret \"db/creds/app\" }}{{ .Data.password }}{{ end }}"
      destination          = "FOLDER/app/env"
      error_on_missing_key = true
    }
"#;

#[tokio::test]
async fn a_lease_stands_while_its_file_does_though_its_template_fails() {
    let mut world = World::new(FLAGS_FIRST);
    world.turn(r#"{"a":"1"}"#);
    assert_eq!(world.text("app/env"), "1 p1");
    // It fails before it comes to the credential.
    world.changed("kv/flags");
    world.turn(r#"{"b":"1"}"#);
    assert!(world.delivery.units[0].problem.is_some());
    assert_eq!(world.text("app/env"), "1 p1");
    assert_eq!(world.revoked().await, [""; 0]);
    // Nor is there another credential once it is well again.
    world.changed("kv/flags");
    world.turn(r#"{"a":"2"}"#);
    assert_eq!(world.text("app/env"), "2 p1");
    assert_eq!(world.revoked().await, [""; 0]);
}

#[tokio::test]
async fn a_lease_stands_while_its_file_does_though_its_template_is_broken() {
    let mut world = World::new(
        r#"
        template {
          source      = "FOLDER/env.ctmpl"
          destination = "FOLDER/app/env"
          command     = "true"
          acknowledge { command = "true" }
        }
        "#,
    );
    let template = |path: &str| {
        format!(r#"{{{{ with secret "db/creds/{path}" }}}}{{{{ .Data.password }}}}{{{{ end }}}}"#)
    };
    let write = |world: &mut World, text: &str| {
        fs::write(world.path("env.ctmpl"), text).unwrap();
        let unit = &mut world.delivery.units[0];
        unit.loaded.reload();
        unit.touch(Instant::now());
        world.turn("{}");
    };
    write(&mut world, &template("app"));
    assert_eq!(world.text("app/env"), "p1");
    world.tell().await;
    write(&mut world, "{{ if }}");
    assert_eq!(world.revoked().await, [""; 0], "the file is as it was");
    write(&mut world, &template("other"));
    assert_eq!(world.text("app/env"), "p2");
    assert_eq!(world.revoked().await, [""; 0], "nobody has said that he has the new one");
    world.tell().await;
    assert_eq!(world.revoked().await, ["db/creds/app/1"]);
}

#[tokio::test]
async fn a_lease_stands_while_what_replaces_it_is_not_published() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("t"), folder.path(), Some("tmpfs"), none, Some("size=256k")).unwrap();
    let mut world = World::within(
        folder,
        r#"
        template {
          contents    = "{{ with secret \"db/creds/app\" }}{{ .Data.password }}{{ end }}"
          destination = "FOLDER/env"
          command     = "true"
          acknowledge { command = "true" }
        }
        "#,
    );
    world.turn("{}");
    world.tell().await;
    assert_eq!(world.text("env"), "p1");
    // Room for what there is, and no more.
    let mut filler = fs::File::create(world.path("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    world.delivery.core.logged_in(2, world.now());
    world.turn("{}");
    let problem = world.delivery.publish_problem.clone();
    let revoked = world.revoked().await;
    let text = world.text("env");
    nix::mount::umount2(world.folder.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert!(problem.is_some());
    assert_eq!(text, "p1");
    assert_eq!(revoked, [""; 0], "nothing stands in its place");
}

#[tokio::test]
async fn a_lease_stands_while_its_file_waits_though_another_is_published() {
    let mut world = World::new(
        r#"
        template {
          contents    = "{{ with secret \"db/creds/app\" }}{{ .Data.password }}{{ end }}"
          destination = "FOLDER/env"
          command     = "true"
          wait { min = "600s" max = "900s" }
          acknowledge { command = "true" }
        }
        template {
          contents    = "{{ with secret \"kv/flags\" }}{{ .Data.a }}{{ end }}"
          destination = "FOLDER/flags"
        }
        "#,
    );
    world.turn(r#"{"a":"1"}"#);
    world.tell().await;
    world.delivery.core.logged_in(2, world.now());
    world.changed("kv/flags");
    world.turn(r#"{"a":"2"}"#);
    assert_eq!((world.text("env"), world.text("flags")), ("p1".to_owned(), "2".to_owned()));
    assert_eq!(world.given, 2, "there is another credential");
    assert_eq!(world.revoked().await, [""; 0], "the file has the one before");
}

#[tokio::test]
async fn a_template_waits_for_no_pipe() {
    let mut world = World::new(
        r#"
        template {
          contents    = "{{ file \"FOLDER/pipe\" }}"
          destination = "FOLDER/piped"
        }
        template {
          contents    = "{{ with secret \"kv/flags\" }}{{ .Data.a }}{{ end }}"
          destination = "FOLDER/flags"
        }
        "#,
    );
    nix::unistd::mkfifo(&world.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    world.turn(r#"{"a":"1"}"#);
    let problem = world.delivery.units[0].problem.clone().unwrap();
    assert!(problem.message.contains("no regular file"), "{problem:?}");
    assert_eq!(world.text("flags"), "1");
}

#[tokio::test]
async fn a_lease_that_never_reached_a_file_is_given_back_at_once() {
    let mut world = World::new(FLAGS_FIRST);
    world.turn(r#"{"a":"1"}"#);
    let lease = r#"{"lease_id":"late/1","lease_duration":60,"data":{"password":"x"}}"#;
    let late = Done::Answer(Answer::parse(lease.as_bytes()).unwrap());
    world.delivery.finish(Finished::Task(9999, Ok(late), 1));
    world.delivery.take(Vec::new(), Instant::now());
    assert_eq!(world.revoked().await, ["late/1"]);
    assert_eq!(world.text("app/env"), "1 p1");
}

impl World {
    /// Waits until everybody was told of what there is.
    async fn tell(&mut self) {
        let start = std::time::Instant::now();
        while self.delivery.consumers.is_busy() {
            assert!(start.elapsed().as_secs() < 30, "they are not told");
            let changed = self.delivery.consumers.changed().await;
            self.delivery.follow_consumer(changed);
        }
    }
}
