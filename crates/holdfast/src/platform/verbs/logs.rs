//! `holdfast logs`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_types::{Clock, SystemClock, Timestamp, Ttl};

use super::super::config;
use super::super::logs::LogReader;
use super::Place;
use super::place::PlaceOption;

/// `holdfast logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Only this one: `vault`, `postgres`, `supervisor`, or a service.
    part: Option<String>,
    #[command(flatten)]
    place: PlaceOption,
    /// Nothing older: a duration such as `10m`, or a time such as `2026-11-22T03:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Go on as lines are added.
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let place = Place::from(self.place);
        let state = place.state()?;
        let mut logs: Vec<(String, PathBuf)> = Vec::new();
        let directory = state.join("logs");
        for entry in
            fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?
        {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(part) = name.strip_suffix(".log") else { continue };
            logs.push((part.to_owned(), path.clone()));
        }
        logs.sort();
        if let Some(wanted) = &self.part {
            if !logs.iter().any(|(name, _)| name == wanted) {
                let names: Vec<_> = logs.iter().map(|(name, _)| name.as_str()).collect();
                bail!("there is no log of {wanted}; {}", config::known(wanted, &names));
            }
            logs.retain(|(name, _)| name == wanted);
        }
        let alone = self.part.is_some();
        let since = self.since.as_deref().map(|text| when(text, SystemClock.now())).transpose()?;
        let mut reader = LogReader::new(logs, since);
        let mut lines = reader.read()?;
        loop {
            let mut out = io::stdout().lock();
            for (time, part, text) in lines {
                let written = match alone {
                    true => writeln!(out, "{time} {text}"),
                    false => writeln!(out, "{time} {part:<12} {text}"),
                };
                match written {
                    // `logs | head` has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other?,
                }
            }
            drop(out);
            if !self.follow {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
            lines = reader.follow()?;
        }
    }
}

/// A duration before `now`, or a time.
fn when(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    match Ttl::parse(text) {
        Ok(Ttl(ago)) if !text.is_empty() => Ok(now.checked_sub(ago)?),
        _ => bail!(
            "--since {text:?} is neither a duration such as 10m nor a time such as 2026-11-22T03:00:00Z"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now = Timestamp::from_second(1000).unwrap();
        for (text, want) in [
            ("10m", Some(400)),
            ("30", Some(970)),
            ("1970-01-01T00:00:07Z", Some(7)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(when(text, now).ok().map(Timestamp::as_second), want, "{text}");
        }
    }
}
