//! `explain`: why a process has the identities that it has, or none.

use anyhow::anyhow;
use clap::Args;
use holdfast_spiffe::proto::agent::explain_request::Subject;
use holdfast_spiffe::proto::agent::{ExplainRequest, ExplainResponse, Rule};
use serde_json::{Value, json};

use super::Output;
use super::agent::Connection;

/// Say who a process is to the agent, or why it is nobody.
///
/// It shows all that was seen of the process, the entries that match, and of those that do not the
/// nearest ones with what is missing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe explain 4711\n  holdfast spiffe explain backend\n  \
                  holdfast spiffe explain -id nR4kX2pQ"
)]
pub(super) struct Explain {
    #[command(flatten)]
    connection: Connection,
    /// The number of a process, or the name of a service of the platform.
    #[arg(value_name = "PID|SERVICE", required_unless_present = "id")]
    subject: Option<String>,
    /// What a workload was told with "no identity issued".
    #[arg(long, value_name = "ID", conflicts_with = "subject")]
    id: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let subject = match (self.id, self.subject) {
            (Some(id), _) => Subject::ExplainId(id),
            (None, Some(text)) => match text.parse() {
                Ok(pid) => Subject::Pid(pid),
                Err(_) => Subject::Service(text),
            },
            (None, None) => return Err(anyhow!("name a process, a service or an id")),
        };
        let request = ExplainRequest { subject: Some(subject) };
        let mut admin = self.connection.admin();
        let answer = self.connection.answer(admin.explain(request)).await?;
        match self.output {
            Output::Pretty => anstream::print!("{}", pretty(&answer)),
            Output::Json => anstream::println!("{:#}", as_json(&answer)),
        }
        Ok(())
    }
}

fn pretty(answer: &ExplainResponse) -> String {
    let mut text = format!("process {}: {}\n", answer.pid, answer.executable);
    text.push_str("\nseen of it:\n");
    for selector in &answer.selectors {
        text.push_str(&format!("  {selector}\n"));
    }
    for gap in &answer.gaps {
        text.push_str(&format!("  not {gap}\n"));
    }
    if answer.matching.is_empty() {
        let among = match answer.entries {
            0 => "there are no entries".to_owned(),
            1 => "the one entry does not match".to_owned(),
            many => format!("none of {many} entries matches"),
        };
        text.push_str(&format!("\nno identity: {among}\n"));
    } else {
        text.push_str("\nits identities, the default one first:\n");
        for rule in &answer.matching {
            text.push_str(&format!("  {}{}\n", rule.spiffe_id, origin(rule)));
        }
    }
    if !answer.nearest.is_empty() {
        text.push_str("\nnearest of the others:\n");
    }
    for rule in &answer.nearest {
        text.push_str(&format!("  {}{}\n", rule.spiffe_id, origin(rule)));
        for missing in &rule.missing {
            let seen = alike(missing, &answer.selectors);
            let instead = match seen.as_slice() {
                [] => String::new(),
                seen => format!("; seen: {}", seen.join(", ")),
            };
            text.push_str(&format!("    wants {missing}{instead}\n"));
        }
    }
    text
}

/// Where an entry is from.
fn origin(rule: &Rule) -> String {
    match rule.origin.as_str() {
        "" => format!(" (entry {})", rule.entry_id),
        origin => format!(" (entry {}, from {origin})", rule.entry_id),
    }
}

/// What was seen of the same kind: for `unix:path:/a` all that begins with `unix:path:`.
fn alike<'s>(missing: &str, seen: &'s [String]) -> Vec<&'s str> {
    let end = missing.match_indices(':').nth(1).map_or(missing.len(), |(at, _)| at + 1);
    let kind = &missing[..end];
    seen.iter().map(String::as_str).filter(|selector| selector.starts_with(kind)).collect()
}

fn as_json(answer: &ExplainResponse) -> Value {
    let rules = |rules: &[Rule]| -> Vec<Value> {
        let rule = |rule: &Rule| {
            json!({
                "entry_id": rule.entry_id, "spiffe_id": rule.spiffe_id,
                "selectors": rule.selectors, "missing": rule.missing, "origin": rule.origin,
            })
        };
        rules.iter().map(rule).collect()
    };
    json!({
        "pid": answer.pid, "executable": answer.executable, "selectors": answer.selectors,
        "gaps": answer.gaps, "matching": rules(&answer.matching),
        "nearest": rules(&answer.nearest), "entries": answer.entries,
        "refused_at": (answer.refused_at > 0).then_some(answer.refused_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_stands_beside_what_is_wanted() {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let answer = ExplainResponse {
            pid: 7,
            executable: "/usr/bin/web".to_owned(),
            selectors: own(&["unix:uid:5", "unix:path:/usr/bin/web"]),
            gaps: own(&["unix:user: user 5 has no name"]),
            nearest: vec![Rule {
                entry_id: "e".to_owned(),
                spiffe_id: "spiffe://demo.local/web".to_owned(),
                missing: own(&["unix:path:/opt/web", "k8s:ns:a"]),
                origin: "identity/web.yaml".to_owned(),
                ..Rule::default()
            }],
            entries: 2,
            ..ExplainResponse::default()
        };
        let want = "process 7: /usr/bin/web\n\
                    \nseen of it:\n  unix:uid:5\n  unix:path:/usr/bin/web\n  \
                    not unix:user: user 5 has no name\n\
                    \nno identity: none of 2 entries matches\n\
                    \nnearest of the others:\n  \
                    spiffe://demo.local/web (entry e, from identity/web.yaml)\n    \
                    wants unix:path:/opt/web; seen: unix:path:/usr/bin/web\n    \
                    wants k8s:ns:a\n";
        assert_eq!(pretty(&answer), want);
    }
}
