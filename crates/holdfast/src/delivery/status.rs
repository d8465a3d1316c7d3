//! An agent for people: what most needs doing first, then files, consumers and notices.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use holdfast_agent::status::{
    ConsumerStatus, FileState, FileStatus, Problem, ServerStatus, Status,
};
use holdfast_types::Timestamp;

use super::ages::{age, ago};
use super::source;

/// One agent.
pub(crate) fn text(status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", headline(status, now));
    let _ = writeln!(
        text,
        "{}, pid {}, up {}\n{}",
        status.name,
        status.pid,
        age(status.started, now),
        server(&status.server, now)
    );
    if !status.files.is_empty() {
        text.push('\n');
        text.push_str(&files(&status.files, now));
    }
    for variable in &status.variables {
        let from: Vec<_> = variable.sources.iter().map(source).collect();
        let _ = writeln!(text, "${}  {}", variable.name, from.join(", "));
        problem(&mut text, variable.problem.as_ref());
    }
    if !status.consumers.is_empty() {
        text.push('\n');
        text.push_str(&consumers(&status.consumers, now));
    }
    for notice in &status.notices {
        let _ = writeln!(text, "\nnotice: {notice}");
    }
    text
}

fn headline(status: &Status, now: Timestamp) -> String {
    if let Some(worst) = status.worst() {
        let mut letters = worst.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string());
        return format!("{}{}.", first.unwrap_or_default(), letters.as_str());
    }
    let count = status.files.len();
    match (&status.generation, count) {
        (_, 0) => "Logged in.".to_owned(),
        (None, _) => "Nothing is rendered yet.".to_owned(),
        (Some(generation), _) => format!(
            "{} up to date: generation {}, {} ago.",
            if count == 1 { "The file is".to_owned() } else { format!("All {count} files are") },
            generation.number,
            age(generation.published, now)
        ),
    }
}

fn server(server: &ServerStatus, now: Timestamp) -> String {
    let mut text = server.address.clone();
    if !server.reachable {
        let since =
            server.answered.map(|then| format!(", which last answered {} ago", age(then, now)));
        text.push_str(&since.unwrap_or_else(|| ", which did not answer yet".to_owned()));
        return text;
    }
    if let Some(accessor) = server.accessor.as_deref().filter(|accessor| !accessor.is_empty()) {
        let _ = write!(text, ", token {accessor}");
    }
    if let Some(expires) = server.token_expires {
        let _ = write!(text, " for {}", age(now, expires));
    }
    match (&server.polling_because, server.told_of_changes) {
        (_, true) => text.push_str("\nchanges are told at once"),
        (Some(why), _) => {
            let _ = write!(text, "\nsecrets are polled: {why}");
        }
        (None, _) => {}
    }
    text
}

fn files(files: &[FileStatus], now: Timestamp) -> String {
    let mut text = String::new();
    let mut table = table(["FILE", "STATE", "SECRETS", "SINCE"]);
    for file in files {
        let state = match file.state {
            FileState::Current => "current",
            FileState::Old => "old",
            FileState::Resumed => "from before",
            FileState::Waiting => "waiting",
        };
        let state = if file.copied { format!("{state}, a copy") } else { state.to_owned() };
        let from: Vec<_> = file.sources.iter().map(source).collect();
        table.add_row([
            file.destination.display().to_string(),
            state,
            from.join("\n"),
            ago(file.changed, now),
        ]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
    for file in files.iter().filter(|file| file.problem.is_some()) {
        let _ = writeln!(text, "\n{}", file.destination.display());
        problem(&mut text, file.problem.as_ref());
    }
    text
}

fn problem(text: &mut String, problem: Option<&Problem>) {
    let Some(problem) = problem else { return };
    let _ = writeln!(text, "  {}", problem.message);
    if let Some(id) = &problem.explain {
        let _ = writeln!(text, "  holdfast why {id}");
    }
}

fn consumers(consumers: &[ConsumerStatus], now: Timestamp) -> String {
    let mut text = String::new();
    let mut table = table(["CONSUMER", "GENERATION", "SINCE", ""]);
    for consumer in consumers {
        let name = match consumer.pid {
            Some(pid) => format!("{} (pid {pid})", consumer.name),
            None => consumer.name.clone(),
        };
        let (generation, stale) = match (consumer.stale, consumer.generation) {
            (false, generation) => (generation.to_string(), String::new()),
            (true, generation) => {
                let why = consumer.problem.as_deref().unwrap_or("it is being told");
                (format!("{generation} of {}", consumer.wanted), format!("STALE: {why}"))
            }
        };
        table.add_row([name, generation, ago(consumer.since, now), stale]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
    text
}

/// A table without lines.
pub(crate) fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use holdfast_agent::generation::SourceRecord;
    use holdfast_agent::status::GenerationStatus;

    use super::*;

    pub(in crate::delivery) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn record(path: &str, version: Option<u64>) -> SourceRecord {
        SourceRecord {
            path: path.into(),
            version,
            rotated: None,
            fields: vec!["data.data.password".into()],
        }
    }

    /// An agent with a bit of everything.
    pub(in crate::delivery) fn example() -> Status {
        let file = |name: &str, state, version, changed| FileStatus {
            destination: format!("/run/app/{name}").into(),
            template: format!("/etc/agent/{name}.ctmpl"),
            state,
            generation: Some(7),
            changed: Some(at(changed)),
            sources: vec![record("kv/data/clipper/backend", Some(version))],
            copied: false,
            problem: None,
        };
        let consumer = |name: &str, generation, version| ConsumerStatus {
            name: name.into(),
            told_by: name.into(),
            files: vec!["/run/app/backend.env".into()],
            pid: (name == "process").then_some(4140),
            generation,
            wanted: 7,
            stale: generation < 7,
            since: Some(at(-100)),
            holds: vec![record("kv/data/clipper/backend", Some(version))],
            problem: (generation < 7).then(|| "sh ended with exit status: 1".into()),
        };
        let mut old = file("postgres.env", FileState::Old, 3, -9000);
        old.sources.push(record("database/creds/app", None));
        old.problem = Some(Problem {
            message: "template: postgres.ctmpl:4:12: permission denied".into(),
            line: Some(4),
            column: Some(13),
            explain: Some("5c9e2d2a-0000".into()),
        });
        Status {
            name: "agent-1f0c9a2b".into(),
            pid: 4123,
            started: at(-11_000),
            server: ServerStatus {
                cluster: None,
                address: "http://127.0.0.1:8200".into(),
                reachable: true,
                answered: Some(at(-3)),
                problem: None,
                logged_in: true,
                accessor: Some("1nCTHbVGPqtBsMoPPGbUVb5n".into()),
                token_expires: Some(at(3000)),
                told_of_changes: true,
                polling_because: None,
            },
            generation: Some(GenerationStatus {
                number: 7,
                published: at(-120),
                current: "/run/app/.holdfast-agent-1f0c9a2b/current".into(),
                kept: vec![6],
            }),
            files: vec![file("backend.env", FileState::Current, 7, -120), old],
            variables: Vec::new(),
            consumers: vec![consumer("process", 7, 7), consumer("systemctl reload web", 6, 6)],
            notices: vec!["/run/app/backend.env has mode 0600, because perms is not set".into()],
        }
    }

    #[test]
    fn the_worst_comes_first_and_the_rest_is_in_columns() {
        insta::assert_snapshot!(text(&example(), at(0)));
    }

    #[test]
    fn a_server_that_is_away_is_said_with_its_age() {
        let mut status = example();
        status.server.reachable = false;
        status.server.problem = Some("reach http://127.0.0.1:8200: connection refused".into());
        status.server.answered = Some(at(-4000));
        let text = text(&status, at(0));
        assert!(text.starts_with("The server does not answer (reach http"), "{text}");
        assert!(text.contains("which last answered 1h ago"), "{text}");
    }

    #[test]
    fn all_is_well_in_one_line() {
        let mut status = example();
        status.files.truncate(1);
        status.consumers.truncate(1);
        let text = text(&status, at(0));
        assert!(text.starts_with("The file is up to date: generation 7, 2m ago."), "{text}");
    }
}
