//! Generated templates against Go's answers: recorded ones always, fresh ones where Go is.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value as Json;

use crate::case::{Answer, Case, standard};
use crate::generate;

/// Set to a number of templates by `cargo xtask prove templates`.
const ROUNDS: &str = "HOLDFAST_PROVE_TEMPLATES";
/// The Go to use, if it is not `go` of the path. Others than 1.27 have other words for some errors.
const GO: &str = "HOLDFAST_GO";

/// Seeds of the recorded answers: the n-th line is seed n.
#[test]
fn generated_templates_have_the_recorded_answers() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (seed, row) in (0..).zip(include_str!("../cases/generated.jsonl").lines()) {
        count += 1;
        let case = generate::case(seed).to_string();
        let case = Case::read(&case, &Json::Null);
        let want = Answer::read(&serde_json::from_str(row).unwrap());
        let got = case.render();
        if !same(&got, &want) {
            wrong.push(format!("{seed}: {}\n  want {want:?}\n  got  {got:?}", case.shown()));
        }
    }
    assert!(count >= 2000, "{count} answers were read");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The full proof: as many seeds as asked for, from 0.
#[test]
fn generated_templates_have_gos_answers() {
    let Ok(rounds) = std::env::var(ROUNDS) else { return };
    let rounds: u64 = rounds.parse().unwrap();
    let mut oracle = Oracle::start();
    let (mut rendered, mut failed, mut wrong) = (0_u64, 0_u64, Vec::new());
    for seed in 0..rounds {
        let case = generate::case(seed);
        let want = oracle.answer(&case);
        let case = Case::read(&case.to_string(), &standard());
        let got = case.render();
        match got {
            Answer::Output(_) => rendered += 1,
            Answer::Error(_) => failed += 1,
        }
        if !same(&got, &want) {
            wrong.push(format!("{seed}: {}\n  want {want:?}\n  got  {got:?}", case.shown()));
            assert!(wrong.len() < 40, "{seed} of {rounds}:\n{}", wrong.join("\n"));
        }
        if seed % 10_000 == 9_999 {
            println!("{} templates: {rendered} rendered, {failed} refused", seed + 1);
        }
    }
    println!("{rounds} templates: {rendered} rendered, {failed} refused, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} of {rounds}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rendered > rounds / 10 && failed > rounds / 10, "both sorts were seen");
}

/// Records Go's answers to the first seeds; the number is [`ROUNDS`], the file is `HOLDFAST_RECORD`.
#[test]
fn answers_are_recorded() {
    let Ok(path) = std::env::var("HOLDFAST_RECORD") else { return };
    let rounds: u64 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    let mut oracle = Oracle::start();
    let mut out = String::new();
    for seed in 0..rounds {
        out.push_str(&oracle.ask(&generate::case(seed)));
    }
    std::fs::write(path, out).unwrap();
}

/// Whether the answers are the same. Templates that call themselves end in both; how deep, differs.
fn same(got: &Answer, want: &Answer) -> bool {
    if let (Answer::Error(got), Answer::Error(want)) = (got, want)
        && want.contains("exceeded maximum template depth")
    {
        return got.contains("exceeded maximum template depth") || got.contains("too deep");
    }
    if let Answer::Error(want) = want {
        // Go alone has none of consul-template's functions.
        let name = want.split("function \"").nth(1).and_then(|rest| rest.split('"').next());
        if want.ends_with("not defined")
            && name.is_some_and(|name| holdfast_ctmpl::function_names().contains(&name))
        {
            return true;
        }
        if want.starts_with("oracle: too much output") {
            return true;
        }
    }
    got.matches(want)
}

struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    fn start() -> Self {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("oracle");
        let go = std::env::var(GO).unwrap_or_else(|_| "go".to_owned());
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("oracle");
        let built = Command::new(go)
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(source)
            .env("GOTOOLCHAIN", "local")
            .status()
            .unwrap();
        assert!(built.success(), "the oracle is built with Go 1.27");
        let mut child = Command::new(&binary)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Self { child, input, output: BufReader::new(output.unwrap()) }
    }

    fn ask(&mut self, case: &Json) -> String {
        let mut input = self.input.as_ref().unwrap();
        writeln!(input, "{case}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn answer(&mut self, case: &Json) -> Answer {
        let line = self.ask(case);
        Answer::read(&serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The oracle ends with its input.
        self.input.take();
        let _ = self.child.wait();
    }
}
