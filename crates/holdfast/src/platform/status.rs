//! How a platform is: the worst fact first, with the command that mends it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{Table, presets};
use holdfast_keys::CertificateInfo;
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::isolation::Guard;
use super::part::PartState;
use super::state::{Record, State};
use super::{cgroup, isolation, seal, spiffe};

/// Everything that `holdfast status` tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) platform: String,
    pub(crate) directory: PathBuf,
    pub(crate) trust_domain: Option<String>,
    pub(crate) state: PathBuf,
    /// Whether there is a supervisor.
    pub(crate) running: bool,
    /// Whether it brought everything up.
    pub(crate) ready: bool,
    pub(crate) since: Option<Timestamp>,
    /// What most needs doing; nothing when all is well.
    pub(crate) worst: Option<Worst>,
    pub(crate) parts: Vec<Part>,
    /// How the seal key is kept, and what that means.
    pub(crate) seal: Option<String>,
    pub(crate) ca_file: PathBuf,
    /// Soonest to expire first.
    pub(crate) certificates: Vec<CertificateStatus>,
    /// Soonest to expire first.
    pub(crate) leases: Vec<LeaseStatus>,
    /// The secrets that services are given.
    pub(crate) secrets: Vec<DeliveryStatus>,
    /// The keys that a secrets server of others verifies logins by.
    pub(crate) keys: Option<KeysStatus>,
    pub(crate) isolation: Vec<Guard>,
}

/// A fact and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worst {
    pub(crate) fact: String,
    pub(crate) command: String,
}

/// One part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) address: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) state: PartState,
    pub(crate) pid: Option<i32>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) restarts: u32,
    pub(crate) reason: Option<String>,
}

/// When a certificate ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CertificateStatus {
    pub(crate) name: String,
    pub(crate) expires: Timestamp,
    /// Why the next one is not signed.
    #[serde(default)]
    pub(crate) problem: Option<String>,
}

/// When a lease ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeaseStatus {
    pub(crate) lease: String,
    pub(crate) expires: Option<Timestamp>,
}

/// How the keys of the trust domain reach a secrets server that does not fetch them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KeysStatus {
    /// When all of them were last found there.
    pub(crate) brought: Option<Timestamp>,
    /// Why they are not there now.
    pub(crate) problem: Option<String>,
    /// What mends that.
    pub(crate) command: Option<String>,
}

/// The secrets that a service is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeliveryStatus {
    pub(crate) service: String,
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// How many.
    pub(crate) files: usize,
    /// The variables of its environment that are secrets: whatever it starts has them, too.
    pub(crate) environment: Vec<String>,
    /// Of which generation; none before all are there.
    pub(crate) generation: Option<u64>,
    /// What is wrong.
    pub(crate) problem: Option<String>,
}

/// What can be told of a platform whose supervisor is not there.
pub(crate) fn without_supervisor(state: &State, record: Option<&Record>) -> Status {
    let stopped = |name: &str, engine: &str| Part {
        name: name.to_owned(),
        engine: engine.to_owned(),
        address: None,
        version: None,
        state: PartState::Stopped,
        pid: None,
        since: None,
        restarts: 0,
        reason: None,
    };
    let mut parts = Vec::new();
    if let Some(record) = record {
        if record.ports.spiffe != 0 {
            parts.push(stopped(spiffe::SERVER, "embedded"));
            parts.push(stopped(spiffe::AGENT, "embedded"));
        }
        if record.engine != "external" {
            parts.push(stopped(super::vault::NAME, &record.engine));
        }
        if record.ports.postgres != 0 {
            parts.push(stopped(super::postgres::NAME, "managed"));
        }
    }
    let ca_file = state.ca_file();
    let root = std::fs::read_to_string(&ca_file).ok();
    let root = root.and_then(|pem| CertificateInfo::from_pem(&pem).ok());
    let mut status = Status {
        platform: record.map_or_else(|| "?".to_owned(), |record| record.name.clone()),
        directory: record.map(|record| record.platform.clone()).unwrap_or_default(),
        trust_domain: None,
        state: state.directory().to_owned(),
        running: false,
        ready: false,
        since: None,
        worst: None,
        parts,
        seal: record.map(|record| match seal::kind(&record.seal) {
            Ok(Some(kind)) => kind.describe(&record.seal),
            Ok(None) => format!("gone: there is no {}", record.seal.display()),
            Err(error) => format!("{error:#}"),
        }),
        ca_file,
        certificates: root
            .map(|root| CertificateStatus {
                name: "platform root".to_owned(),
                expires: root.not_after,
                problem: None,
            })
            .into_iter()
            .collect(),
        leases: Vec::new(),
        secrets: Vec::new(),
        keys: None,
        isolation: isolation::probe(None, cgroup::of_platform(state, "").is_some()),
    };
    status.worst = worst(&status, None);
    if let Some(record) = record
        && !record.seal.exists()
        && state.join("root.sealed").exists()
    {
        status.worst = Some(Worst {
            fact: format!(
                "the seal key {} is gone, and nothing opens without it",
                record.seal.display()
            ),
            command: format!("restore it from where you keep copies; or {}", down(&status, true)),
        });
    }
    status
}

/// What most needs doing.
pub(crate) fn worst(status: &Status, not_applied: Option<&str>) -> Option<Worst> {
    let fact = |fact: String, command: String| Some(Worst { fact, command });
    if !status.running {
        return fact("the platform is down".to_owned(), format!("holdfast up{}", suffix(status)));
    }
    let place = suffix(status);
    let ill = status
        .parts
        .iter()
        .find(|part| matches!(part.state, PartState::Waiting | PartState::Stopped));
    if let Some(part) = ill {
        let why = part.reason.as_deref().unwrap_or("it is stopped");
        let command = format!("holdfast logs {} --platform{place}", part.name);
        return fact(format!("{} does not run: {why}", part.name), command);
    }
    if status.parts.iter().any(|part| part.state == PartState::Sealed) {
        return fact("the secrets server is sealed".to_owned(), format!("holdfast unseal{place}"));
    }
    if let Some(part) = status.parts.iter().find(|part| part.state == PartState::Starting) {
        let why = part.reason.as_deref().unwrap_or("it has just been started");
        let command = format!("holdfast logs {} --platform{place}", part.name);
        return fact(format!("{} does not answer yet: {why}", part.name), command);
    }
    let ill = status.secrets.iter().find_map(|one| Some((one, one.problem.as_ref()?)));
    if let Some((secrets, why)) = ill {
        let command = format!("holdfast logs {}-agent --platform{place}", secrets.service);
        return fact(format!("the secrets of {}: {why}", secrets.service), command);
    }
    if let Some(why) = not_applied {
        let command = format!("holdfast apply{place}");
        return fact(format!("the platform directory is not applied: {why}"), command);
    }
    if let Some(KeysStatus { problem: Some(why), command: Some(command), .. }) = &status.keys {
        let what = "the keys that verify services' logins do not reach the secrets server";
        return fact(format!("{what}: {why}"), command.clone());
    }
    let ill = status.certificates.iter().find_map(|one| Some((one, one.problem.as_ref()?)));
    if let Some((certificate, why)) = ill {
        let command = format!("holdfast logs {} --platform{place}", spiffe::SERVER);
        let what = format!("the certificate of {} is not renewed", certificate.name);
        return fact(format!("{what}: {why}"), command);
    }
    if !status.ready {
        return fact("the platform is being started".to_owned(), format!("holdfast status{place}"));
    }
    None
}

/// What to type after a verb to mean this platform.
fn suffix(status: &Status) -> String {
    place(&status.platform, &status.directory, &status.state)
}

/// The same of the platform of this name, directory and state directory; it starts with a space.
pub(crate) fn place(platform: &str, directory: &Path, state: &Path) -> String {
    let mut text = String::new();
    if !directory.as_os_str().is_empty() {
        let _ = write!(text, " {}", directory.display());
    }
    if State::default_path(platform).is_ok_and(|usual| usual != state) {
        let _ = write!(text, " --state {}", state.display());
    }
    text
}

fn down(status: &Status, purge: bool) -> String {
    format!("holdfast down{}{}", if purge { " --purge" } else { "" }, suffix(status))
}

impl Status {
    /// For people.
    pub(crate) fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        match &self.worst {
            Some(worst) => {
                let _ = writeln!(text, "{}\n  {}\n", worst.fact, worst.command);
            }
            None => {
                let _ = writeln!(text, "{} is up\n", self.platform);
            }
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["PART", "ENGINE", "STATE", "SINCE", "PID", "ADDRESS", "VERSION"]);
        for part in &self.parts {
            let state = match (part.state, part.restarts) {
                (state, 0) => state.word().to_owned(),
                (state, restarts) => format!("{} (restarted {restarts} x)", state.word()),
            };
            table.add_row([
                part.name.clone(),
                part.engine.clone(),
                state,
                part.since.map_or_else(String::new, |since| ago(since, now)),
                part.pid.map_or_else(String::new, |pid| pid.to_string()),
                part.address.clone().unwrap_or_default(),
                part.version.clone().unwrap_or_default(),
            ]);
        }
        let _ = writeln!(text, "{}\n", table.trim_fmt());
        let _ = writeln!(text, "platform     {}", self.directory.display());
        let _ = writeln!(text, "state        {}", self.state.display());
        let _ = writeln!(text, "CA           {}", self.ca_file.display());
        if let Some(seal) = &self.seal {
            let _ = writeln!(text, "seal key     {seal}");
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            let label = if index == 0 { "certificates" } else { "" };
            let left = remaining(certificate.expires, now);
            let _ = writeln!(text, "{label:<12} {} expires {left}", certificate.name);
        }
        for (index, lease) in self.leases.iter().enumerate() {
            let label = if index == 0 { "leases" } else { "" };
            let left = lease.expires.map_or_else(String::new, |expires| remaining(expires, now));
            let _ = writeln!(text, "{label:<12} {} expires {left}", lease.lease);
        }
        for (index, secrets) in self.secrets.iter().enumerate() {
            let label = if index == 0 { "secrets" } else { "" };
            let _ = writeln!(text, "{label:<12} {}", secrets.line());
        }
        if let Some(keys) = &self.keys {
            let _ = writeln!(text, "{:<12} {}", "login keys", keys.line(now));
        }
        let missing: Vec<_> = self.isolation.iter().filter(|guard| !guard.present).collect();
        for (index, guard) in missing.iter().enumerate() {
            let label = if index == 0 { "missing" } else { "" };
            let _ = writeln!(text, "{label:<12} {}: {}", guard.name, guard.note);
        }
        text
    }
}

impl KeysStatus {
    fn line(&self, now: Timestamp) -> String {
        let when = self.brought.map(|brought| format!("{} ago", ago(brought, now)));
        let when = when.unwrap_or_else(|| "not since the start".to_owned());
        match &self.problem {
            None => format!("are with the secrets server, as seen {when}"),
            Some(why) => format!("ARE NOT WITH THE SECRETS SERVER, last seen there {when}: {why}"),
        }
    }
}

impl DeliveryStatus {
    fn line(&self) -> String {
        let (count, directory) = (self.files, self.directory.display());
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let mut line = match self.generation {
            Some(generation) => {
                format!("{}: {files} in {directory}, generation {generation}", self.service)
            }
            None => format!("{}: {files} to come in {directory}", self.service),
        };
        if !self.environment.is_empty() {
            let _ = write!(line, "; IN ITS ENVIRONMENT: {}", self.environment.join(", "));
        }
        line
    }
}

impl PartState {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Sealed => "sealed",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

fn ago(since: Timestamp, now: Timestamp) -> String {
    short(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

fn remaining(expires: Timestamp, now: Timestamp) -> String {
    match Duration::try_from(expires.duration_since(now)) {
        Ok(left) => format!("in {}", short(left)),
        Err(_) => "now".to_owned(),
    }
}

/// The two largest units.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (366.., ..) => format!("{} years", days / 365),
        (1.., ..) => format!("{days}d {hours}h"),
        (0, 1.., _) => format!("{hours}h {minutes}m"),
        (0, 0, 1..) => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(parts: Vec<(&str, PartState, Option<&str>)>, ready: bool) -> Status {
        let part = |(name, state, reason): (&str, PartState, Option<&str>)| Part {
            name: name.to_owned(),
            engine: "embedded".to_owned(),
            address: Some("https://127.0.0.1:8200".to_owned()),
            version: Some("2.7.2".to_owned()),
            state,
            pid: Some(71),
            since: Some(Timestamp::from_second(1_000_000).unwrap()),
            restarts: 0,
            reason: reason.map(str::to_owned),
        };
        Status {
            platform: "demo".to_owned(),
            directory: "/p/demo".into(),
            trust_domain: Some("demo.local".to_owned()),
            state: "/s/demo".into(),
            running: true,
            ready,
            since: None,
            worst: None,
            parts: parts.into_iter().map(part).collect(),
            seal: Some(seal::SealKind::File.describe("/k/demo.seal".as_ref())),
            ca_file: "/s/demo/ca.pem".into(),
            certificates: vec![CertificateStatus {
                name: "vault".to_owned(),
                expires: Timestamp::from_second(1_000_000 + 7 * 86_400).unwrap(),
                problem: None,
            }],
            leases: vec![LeaseStatus {
                lease: "database/creds/backend-role/x".to_owned(),
                expires: Some(Timestamp::from_second(1_003_700).unwrap()),
            }],
            secrets: vec![DeliveryStatus {
                service: "backend".to_owned(),
                directory: "/s/demo/secrets/services/backend/files".into(),
                files: 2,
                environment: vec!["DATABASE_PASSWORD".to_owned()],
                generation: Some(7),
                problem: None,
            }],
            keys: None,
            isolation: vec![Guard {
                name: "uid per part".to_owned(),
                present: false,
                note: "all parts run as you".to_owned(),
            }],
        }
    }

    #[test]
    fn the_worst_fact_comes_with_what_mends_it() {
        use PartState::{Ready, Sealed, Starting, Waiting};
        for (parts, ready, not_applied, want) in [
            (vec![("vault", Ready, None)], true, None, None),
            (
                vec![("vault", Sealed, None), ("postgres", Waiting, Some("exit 1"))],
                true,
                Some("x"),
                Some((
                    "postgres does not run: exit 1",
                    "holdfast logs postgres --platform /p/demo --state /s/demo",
                )),
            ),
            (
                vec![("vault", Sealed, None)],
                true,
                Some("x"),
                Some(("the secrets server is sealed", "holdfast unseal /p/demo --state /s/demo")),
            ),
            (
                vec![("vault", Starting, None)],
                false,
                None,
                Some((
                    "vault does not answer yet: it has just been started",
                    "holdfast logs vault --platform /p/demo --state /s/demo",
                )),
            ),
            (
                vec![("vault", Ready, None)],
                true,
                Some("x"),
                Some((
                    "the platform directory is not applied: x",
                    "holdfast apply /p/demo --state /s/demo",
                )),
            ),
        ] {
            let got = worst(&status(parts, ready), not_applied);
            let want = want.map(|(fact, command): (&str, &str)| Worst {
                fact: fact.to_owned(),
                command: command.to_owned(),
            });
            assert_eq!(got, want);
        }
    }

    #[test]
    fn keys_that_are_not_brought_are_told_of_with_what_mends_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut status = status(vec![("vault", PartState::Ready, None)], true);
        let mut keys = KeysStatus { brought: Some(at(1_000_000)), ..Default::default() };
        status.keys = Some(keys.clone());
        assert_eq!(worst(&status, None), None);
        let text = status.text(at(1_000_100));
        assert!(text.contains("login keys   are with the secrets server, as seen 1m 40s ago"));
        keys.problem = Some("403".to_owned());
        keys.command = Some("write a token that it takes to /t".to_owned());
        status.keys = Some(keys);
        let found = worst(&status, None).unwrap();
        assert!(found.fact.ends_with("do not reach the secrets server: 403"), "{}", found.fact);
        assert_eq!(found.command, "write a token that it takes to /t");
        let text = status.text(at(1_000_100));
        assert!(text.contains("ARE NOT WITH THE SECRETS SERVER, last seen there 1m 40s ago: 403"));
    }

    #[test]
    fn the_text_starts_with_the_worst_fact() {
        let parts = vec![
            ("vault", PartState::Ready, None),
            ("postgres", PartState::Waiting, Some("exit status: 1")),
        ];
        let mut status = status(parts, true);
        status.worst = worst(&status, None);
        insta::assert_snapshot!(status.text(Timestamp::from_second(1_000_100).unwrap()));
    }
}
