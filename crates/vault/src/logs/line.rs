//! A line of the log as readers get it: the layouts of OpenBao's logger, which their tools parse.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use holdfast_types::{Clock, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{LogFormat, subsystem};

/// The longest value of a field, in bytes; more is cut off.
const VALUE: usize = 4096;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    time: Timestamp,
    pub(super) level: Level,
    /// The subsystem.
    name: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

/// Passes on what is logged to whoever reads along.
pub(super) struct Lines {
    sender: broadcast::Sender<Arc<Line>>,
    clock: Arc<dyn Clock>,
}

impl Lines {
    pub(super) fn new(sender: broadcast::Sender<Arc<Line>>, clock: Arc<dyn Clock>) -> Self {
        Self { sender, clock }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line {
            time: self.clock.now(),
            level: *metadata.level(),
            name: subsystem::of(metadata.target()).to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        // An error means that nobody reads any more.
        let _ = self.sender.send(Arc::new(line));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut value = value.to_owned();
        value.truncate(value.floor_char_boundary(VALUE));
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value.into())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Line {
    /// With the newline at its end.
    pub(super) fn write(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.to_json().to_string() + "\n",
            LogFormat::Standard => self.to_text(),
        }
    }

    /// `2026-11-22T17:12:42.637Z [INFO]  core: unsealed: mount=kv/ took="3 s"`.
    fn to_text(&self) -> String {
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let level = format!("[{}]", self.level);
        let mut text = format!("{time} {level:<7} {}: {}", self.name, self.message);
        for (index, (name, value)) in self.fields.iter().enumerate() {
            text.push_str(if index == 0 { ": " } else { " " });
            let _ = match value {
                Value::String(value) if needs_quotes(value) => write!(text, "{name}={value:?}"),
                Value::String(value) => write!(text, "{name}={value}"),
                value => write!(text, "{name}={value}"),
            };
        }
        text.push('\n');
        text
    }

    fn to_json(&self) -> Value {
        let mut fields: Map<String, Value> =
            self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let own = [
            ("@level", json!(self.level.as_str().to_lowercase())),
            ("@message", json!(self.message)),
            ("@module", json!(self.name)),
            ("@timestamp", json!(self.time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())),
        ];
        fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(fields)
    }
}

/// Whether a value would not end where it does, or break the line.
fn needs_quotes(value: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"';
    value.is_empty() || !value.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_laid_out_as_the_official_log() {
        let line = Line {
            time: "2026-11-22T17:12:42.637129Z".parse().unwrap(),
            level: Level::INFO,
            name: "core".to_owned(),
            message: "mounted".to_owned(),
            fields: vec![
                ("path", json!("x/")),
                ("version", json!("")),
                ("cause", json!("a b\nc")),
                ("keys", json!(3)),
            ],
        };
        assert_eq!(
            line.write(LogFormat::Standard),
            "2026-11-22T17:12:42.637Z [INFO]  core: mounted: path=x/ version=\"\" \
             cause=\"a b\\nc\" keys=3\n"
        );
        assert_eq!(
            line.write(LogFormat::Json),
            "{\"@level\":\"info\",\"@message\":\"mounted\",\"@module\":\"core\",\
             \"@timestamp\":\"2026-11-22T17:12:42.637129Z\",\"cause\":\"a b\\nc\",\"keys\":3,\
             \"path\":\"x/\",\"version\":\"\"}\n"
        );
    }
}
