//! How long 1,000 templates of 60 lines take to parse and to render.
//!
//! `cargo run --release -p holdfast-ctmpl --example throughput`

use std::time::Instant;

use holdfast_ctmpl::{Answer, Limits, Need, Options, Source, Template, Value, secret};
use holdfast_types::Timestamp;

struct Secrets(Value);

impl Source for Secrets {
    fn ask(&self, _: &Need) -> Answer {
        Answer::Known(self.0.clone())
    }

    fn env(&self, _: &str) -> Option<String> {
        Some("production".to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("open {path}: no such file or directory"))
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn main() -> Result<(), holdfast_ctmpl::Error> {
    let response = serde_json::json!({ "data": {
        "data": { "user": "web", "password": "hunter2", "hosts": ["a", "b", "c"], "port": 5432 },
        "metadata": { "version": 3 },
    }});
    let source = Secrets(secret("secret/data/web", &response));
    let mut text = String::from("{{ with secret \"secret/data/web\" }}\n");
    for line in 0..58 {
        text.push_str(match line % 4 {
            0 => "user = {{ .Data.data.user }}\n",
            1 => "password = {{ .Data.data.password | printf \"%q\" }}\n",
            2 => "hosts = {{ range $i, $h := .Data.data.hosts }}{{ if $i }},{{ end }}{{ $h }}{{ end }}\n",
            _ => "port = {{ .Data.data.port }} # {{ env \"MODE\" | toUpper }}\n",
        });
    }
    text.push_str("{{ end }}\n");

    let started = Instant::now();
    let templates: Vec<Template> = (0..1000)
        .map(|_| Template::parse("t", text.as_bytes(), &Options::default()))
        .collect::<Result<_, _>>()?;
    let parsed = started.elapsed();
    let started = Instant::now();
    let mut bytes = 0;
    for template in &templates {
        bytes += template.render(&source, &Limits::default())?.bytes.expose().len();
    }
    println!("1,000 templates of 60 lines: parsed in {parsed:?}");
    println!("rendered in {:?}, {bytes} bytes", started.elapsed());
    Ok(())
}
