//! The language against Go's own answers: `oracle/` makes the tables of `tests/cases/`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod case;
mod generate;
mod hostile;
mod provenance;
mod random;

use case::{Answer, Case, standard};

/// Every case of a table, and what differs.
fn check(table: &str, rows: &str, least: usize) {
    let standard = standard();
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows.lines() {
        count += 1;
        let case = Case::read(row, &standard);
        let got = case.render();
        if !got.matches(&case.want) {
            wrong.push(format!("{}\n  want {:?}\n  got  {got:?}", case.shown(), case.want));
        }
    }
    assert!(count >= least, "{table}: {count} cases were read");
    let shown: Vec<_> = wrong.iter().take(60).cloned().collect();
    assert!(wrong.is_empty(), "{table}: {} of {count}:\n{}", wrong.len(), shown.join("\n"));
}

macro_rules! tables {
    ($($name:ident $least:literal;)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), include_str!(concat!("../cases/", stringify!($name), ".jsonl")), $least);
        }
    )*};
}

tables! {
    actions 300;
    builtins 100;
    delimiters 250;
    errors 120;
    fields 2700;
    numbers 300;
    pairs 2600;
    printf 3100;
    syntax 320;
}

#[test]
fn functions() {
    let rows = include_str!("../cases/functions.jsonl");
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows.lines() {
        count += 1;
        let case = Case::of_consul_template(row);
        let got = case.render();
        if !got.matches(&case.want) {
            wrong.push(format!("{}\n  want {:?}\n  got  {got:?}", case.shown(), case.want));
        }
    }
    assert!(count >= 5000, "{count} cases were read");
    let shown: Vec<_> = wrong.iter().take(400).cloned().collect();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), shown.join("\n"));
}

#[test]
fn an_answer_that_differs_is_found() {
    let case = Case::read(r#"{"template":"{{1}}","output":"2"}"#, &serde_json::Value::Null);
    assert!(!case.render().matches(&case.want));
    assert!(case.render().matches(&Answer::Output(b"1".to_vec())));
}
