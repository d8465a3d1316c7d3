//! The official client and ours, side by side: the same command lines, each against a real server
//! of its own, have to print the same and exit the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_testkit::{Stock, StockServer};
use regex::Regex;

#[test]
fn command_lines_print_what_the_official_client_prints() {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    let stock = Stock::install();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/side_by_side/commands.txt");
    let script = fs::read_to_string(script).expect("the command lines");
    let lines: Vec<&str> =
        script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();

    let (wanted, got) = std::thread::scope(|scope| {
        let wanted = scope.spawn(|| Side::start(&stock, stock.bao()).run_all(&lines));
        let got = Side::start(&stock, ours).run_all(&lines);
        (wanted.join().expect("the official client ran"), got)
    });

    let compared = lines.len();
    let differences: Vec<String> = lines
        .iter()
        .zip(wanted.iter().zip(&got))
        .filter(|(_, (want, got))| want != got)
        .map(|(line, (want, got))| format!("$ {line}\n--- official\n{want}+++ ours\n{got}"))
        .collect();
    assert!(compared >= 120, "only {compared} command lines");
    assert!(
        differences.is_empty(),
        "{} of {compared} command lines differ:\n\n{}",
        differences.len(),
        differences.join("\n")
    );
    println!("{compared} command lines agree");
}

/// One client and its server.
struct Side {
    server: StockServer,
    home: tempfile::TempDir,
    masks: Vec<(Regex, &'static str)>,
}

/// What a command line left behind, without what differs from run to run.
#[derive(PartialEq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code {:?}", self.code)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in text.split_inclusive('\n') {
                write!(f, "{name}: {line}")?;
            }
            if !text.is_empty() && !text.ends_with('\n') {
                writeln!(f, "<no newline>")?;
            }
        }
        Ok(())
    }
}

impl Side {
    fn start(stock: &Stock, client: &Path) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(client, home.path().join("bao")).expect("a link");
        Self { server: StockServer::start(stock), home, masks: masks() }
    }

    fn run_all(&self, lines: &[&str]) -> Vec<Outcome> {
        lines
            .iter()
            .map(|line| match line.strip_prefix("! ") {
                Some(line) => Outcome { stderr: String::new(), ..self.run(line) },
                None => self.run(line),
            })
            .collect()
    }

    fn run(&self, line: &str) -> Outcome {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.home.path().display()))
            .env("BAO_ADDR", self.server.address())
            .env("BAO_TOKEN", StockServer::ROOT_TOKEN)
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        Outcome {
            code: output.status.code(),
            stdout: self.mask(&output.stdout),
            stderr: self.mask(&output.stderr),
        }
    }

    fn mask(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(self.server.address(), "ADDRESS");
        self.masks
            .iter()
            .fold(text, |text, (regex, mask)| regex.replace_all(&text, *mask).into_owned())
    }
}

/// What differs from run to run: times, identifiers, tokens. Lengths are kept where columns are
/// measured by them.
fn masks() -> Vec<(Regex, &'static str)> {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC", "TIME"),
        (r"\d\d [A-Z][a-z]{2} \d\d \d\d:\d\d UTC", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b[sb]\.[A-Za-z0-9]{24}", "TOKEN"),
        (r"_[0-9a-f]{8}\b", "_ACCESSOR"),
        (r"cluster-[0-9a-f]{8}\b", "cluster-ID"),
        (r"\b[A-Za-z0-9]{24}\b", "ACCESSOR"),
        // What is left of a token's time.
        (r"(?m)^(ttl +)\S+", "${1}REST"),
        (r#"("ttl": )\d+"#, "${1}REST"),
        (r"creation_time(\W+)\d{10}\b", "creation_time${1}SECONDS"),
        // What a server does in the background is encrypted as well.
        (r#"(Encryption Count +|"encryptions": )\d+"#, "${1}COUNT"),
    ]
    .into_iter()
    .map(|(regex, mask)| (Regex::new(regex).expect("a pattern"), mask))
    .collect()
}
