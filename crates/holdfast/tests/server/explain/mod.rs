//! Refusals, and what the server says of them to operators.
//!
//! `denials.toml` holds the requests and their true causes. Each is made over HTTP, and then asked
//! about by the id in its answer.

mod row;
mod world;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use row::{Row, rows};
use world::World;

/// How many causes must be named.
const NAMED: usize = 38;

/// What was found out about one row.
struct Finding {
    row: Row,
    told: Value,
}

impl Finding {
    /// What is wrong with what was told; empty where it is the truth.
    fn problems(&self) -> Vec<String> {
        let (row, told) = (&self.row, &self.told);
        let mut problems = Vec::new();
        if told["cause"] != json!(row.cause) {
            problems.push(format!("the cause is {}, not {}", told["cause"], row.cause));
        }
        let summary = told["summary"].as_str().unwrap_or_default();
        for name in &row.names {
            if !summary.contains(name.as_str()) {
                problems.push(format!("{name:?} is not in: {summary}"));
            }
        }
        problems.extend(self.problems_of_fix());
        problems
    }

    fn problems_of_fix(&self) -> Vec<String> {
        let (row, fix) = (&self.row, &self.told["fix"]);
        match &row.fix {
            Some(want) => match fix["hcl"].as_str() {
                None => vec![format!("no rule is proposed, but {fix}")],
                Some(hcl) if row::same_rule(hcl, want) => Vec::new(),
                Some(hcl) => vec![format!("proposed is {hcl}")],
            },
            None => {
                let text = fix["text"].as_str().unwrap_or_default();
                let absent = row.advice.iter().filter(|word| !text.contains(word.as_str()));
                absent.map(|word| format!("{word:?} is not in the advice {fix}")).collect()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_refusals_are_explained_by_their_true_causes() {
    let world = World::new().await;
    let mut findings = Vec::new();
    for row in rows() {
        world.prepare(&row).await;
        let answer = world.send(&row, &row.name).await;
        assert_eq!(answer.status, row.status, "{}", row.name);
        let id = answer.explain_id.unwrap_or_else(|| panic!("{}: no id", row.name));
        let told = world.why(&id).await;
        findings.push(Finding { row, told });
    }
    assert_eq!(findings.len(), 40);
    let wrong: BTreeMap<&str, Vec<String>> = findings
        .iter()
        .map(|finding| (finding.row.name.as_str(), finding.problems()))
        .filter(|(_, problems)| !problems.is_empty())
        .collect();
    println!("{} of 40 explained as written down", 40 - wrong.len());
    let told = findings.iter().map(|finding| finding.told["cause"] == json!(finding.row.cause));
    println!("{} of 40 causes named first", told.filter(|right| *right).count());
    assert!(40 - wrong.len() >= NAMED, "{wrong:#?}");

    // Each rule, applied as proposed: of the forty requests, made by that caller, one alone changes.
    let mut rows = rows();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    let mut applied = 0;
    for finding in findings.iter().filter(|finding| finding.told["fix"]["hcl"].is_string()) {
        let name = &finding.row.name;
        let before = world.all(name).await;
        assert!(!before[name], "{name} is still refused");
        let undo = world.apply(name, &finding.told["fix"]).await;
        let after = world.all(name).await;
        undo.undo(&world).await;
        let changed: Vec<_> =
            before.keys().filter(|other| before[*other] != after[*other]).collect();
        // Some rows make the same request, each with a caller and policies of its own.
        let same: Vec<_> = rows
            .iter()
            .filter(|row| row.is_same_request(&finding.row))
            .map(|row| &row.name)
            .collect();
        assert_eq!(changed, same, "{name}: {}", finding.told["fix"]);
        applied += 1;
    }
    println!("{applied} proposed rules each allow their request and none of the others");
    assert!(applied >= 20, "{applied}");
}
