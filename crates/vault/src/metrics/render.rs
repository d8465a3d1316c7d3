//! The two forms in which numbers go out: Prometheus' text and OpenBao's JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_types::Timestamp;
use serde_json::{Value, json};

use super::summary::{QUANTILES, Snapshot};

/// A number, or the numbers of a summary.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    name: String,
    labels: BTreeMap<&'static str, String>,
    value: Number,
    /// Without `vault` before its name.
    bare: bool,
}

#[derive(Debug, Clone)]
enum Number {
    Gauge(f64),
    Counter(u64),
    Summary(Snapshot),
}

impl Sample {
    fn new(name: impl Into<String>, value: Number) -> Self {
        Self { name: name.into(), labels: BTreeMap::new(), value, bare: false }
    }

    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn gauge(name: &str, value: usize) -> Self {
        Self::new(name, Number::Gauge(value as f64))
    }

    pub(super) fn counter(name: &str, value: u64) -> Self {
        Self::new(name, Number::Counter(value))
    }

    pub(super) fn summary(name: impl Into<String>, snapshot: Snapshot) -> Self {
        Self::new(name, Number::Summary(snapshot))
    }

    pub(super) fn label(mut self, name: &'static str, value: &str) -> Self {
        self.labels.insert(name, value.to_owned());
        self
    }

    pub(super) fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    fn full_name(&self, separator: &str) -> String {
        match self.bare {
            true => self.name.clone(),
            false => format!("vault{separator}{}", self.name),
        }
    }
}

/// Prometheus' text format, version 0.0.4.
pub(super) fn prometheus(samples: &[Sample]) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for sample in samples {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let name: String =
            sample.full_name("_").chars().map(|c| if is_word(c) { c } else { '_' }).collect();
        let kind = match sample.value {
            Number::Gauge(_) => "gauge",
            Number::Counter(_) => "counter",
            Number::Summary(_) => "summary",
        };
        // Writing to a string cannot fail.
        if name != last {
            let _ = writeln!(text, "# TYPE {name} {kind}");
        }
        let labels = |more: Option<String>| {
            let own = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
            let all: Vec<_> = own.chain(more).collect();
            if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
        };
        match &sample.value {
            Number::Gauge(value) => _ = writeln!(text, "{name}{} {value}", labels(None)),
            Number::Counter(value) => _ = writeln!(text, "{name}{} {value}", labels(None)),
            Number::Summary(snapshot) => {
                for (index, quantile) in QUANTILES.iter().enumerate() {
                    let value = snapshot.recent.as_ref().map_or(f64::NAN, |r| r.quantiles[index]);
                    let labels = labels(Some(format!("quantile=\"{quantile}\"")));
                    let _ = writeln!(text, "{name}{labels} {value}");
                }
                let _ = writeln!(text, "{name}_sum{} {}", labels(None), snapshot.sum);
                let _ = writeln!(text, "{name}_count{} {}", labels(None), snapshot.count);
            }
        }
        last = name;
    }
    text
}

/// OpenBao's JSON. Summaries are of the last one to two minutes; those of nothing are left out.
pub(super) fn document(samples: &[Sample], now: Timestamp) -> Value {
    let (mut gauges, mut counters, mut summaries) = (Vec::new(), Vec::new(), Vec::new());
    for sample in samples {
        let name = sample.full_name(".");
        match &sample.value {
            Number::Gauge(value) => {
                gauges.push(json!({ "Name": name, "Value": value, "Labels": sample.labels }));
            }
            Number::Counter(value) => counters.push(json!({
                "Name": name, "Count": value, "Sum": value, "Labels": sample.labels,
            })),
            Number::Summary(snapshot) => {
                let Some(recent) = &snapshot.recent else { continue };
                #[expect(clippy::cast_precision_loss, reason = "a statistic")]
                let mean = recent.sum / recent.count as f64;
                summaries.push(json!({
                    "Name": name,
                    "Count": recent.count,
                    "Sum": recent.sum,
                    "Min": recent.min,
                    "Max": recent.max,
                    "Mean": mean,
                    "Stddev": recent.stddev,
                    "Labels": sample.labels,
                }));
            }
        }
    }
    json!({
        "Timestamp": now.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        "Gauges": gauges,
        "Points": [],
        "Counters": counters,
        "Samples": summaries,
    })
}
