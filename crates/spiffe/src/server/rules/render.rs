//! From rules and workloads to entries.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_ctmpl::{Answer, Limits, MissingKey, Need, Options, Source, Template, Value};
use holdfast_types::{SpiffeId, Timestamp};

use super::model::{Object, Rule, Spec, Static, Text, Workload};
use super::{Problem, RuleSettings};
use crate::server::registry::check;
use crate::{Entry, Selector};

/// The label that every namespace has.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// What rendering one ID may cost.
const LIMITS: Limits = Limits { steps: 100_000, depth: 20, output: 16 << 10, needs: 0 };

/// All entries, if there are no more than `limit`. What cannot be one is noted.
pub(super) fn entries(
    objects: &[Object],
    workloads: &[Workload],
    settings: &RuleSettings,
    limit: usize,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut made: Vec<(Entry, &Object)> = Vec::new();
    let mut note = |object: &Object, line: usize, text: String| {
        problems.push(Problem { file: object.file.clone(), line, text });
    };
    let rules = || {
        objects.iter().filter_map(|object| match &object.spec {
            Spec::Rule(rule) => Some((object, rule)),
            Spec::Static(_) => None,
        })
    };
    for object in objects {
        if let Spec::Static(spec) = &object.spec {
            made.push((fixed(object, spec), object));
        }
    }
    for workload in workloads {
        let selected = |rule: &Rule| {
            let namespace =
                BTreeMap::from([(NAMESPACE_LABEL.to_owned(), workload.namespace.clone())]);
            rule.pods.selects(&workload.labels) && rule.namespaces.selects(&namespace)
        };
        let has_rule = rules().any(|(_, rule)| !rule.is_fallback && selected(rule));
        for (object, rule) in rules() {
            if !selected(rule) || (rule.is_fallback && has_rule) {
                continue;
            }
            // A few rules for a few workloads make many entries.
            if made.len() >= limit {
                note(object, object.line, format!("there are more than {limit} entries"));
                return Vec::new();
            }
            match ruled(object, rule, workload, settings) {
                Ok(entry) => made.push((entry, object)),
                Err((line, text)) => {
                    let who = format!("workload {:?}", workload.name);
                    note(object, line, format!("for {who}: {text}"));
                }
            }
        }
    }
    // Two entries that say the same would make what is issued depend on chance.
    let mut seen: BTreeMap<(&SpiffeId, &SpiffeId, &BTreeSet<Selector>), &Object> = BTreeMap::new();
    for (entry, object) in &made {
        if let Err(error) = check(entry, &settings.trust_domain) {
            note(object, object.line, format!("{}: {error}", entry.origin));
        }
        let key = (&entry.spiffe_id, &entry.parent, &entry.selectors);
        if let Some(first) = seen.insert(key, object) {
            let text = format!(
                "{} {:?} gives {} to the same workloads as {} {:?} of {}:{}",
                object.spec.kind(),
                object.name,
                entry.spiffe_id,
                first.spec.kind(),
                first.name,
                first.file,
                first.line,
            );
            note(object, object.line, text);
        }
    }
    made.into_iter().map(|(entry, _)| entry).collect()
}

fn fixed(object: &Object, spec: &Static) -> Entry {
    let origin = format!("{} {} ({})", object.spec.kind(), object.name, object.file);
    Entry {
        id: entry_id(&[object.spec.kind(), &object.name]),
        spiffe_id: spec.spiffe_id.clone(),
        parent: spec.parent.clone(),
        selectors: spec.selectors.clone(),
        x509_ttl: spec.x509_ttl,
        jwt_ttl: spec.jwt_ttl,
        dns_names: spec.dns_names.clone(),
        ip_addresses: spec.ip_addresses.clone(),
        hint: spec.hint.clone(),
        federates_with: spec.federates_with.clone(),
        created: Timestamp::UNIX_EPOCH,
        revision: 0,
        origin,
        expires: None,
    }
}

fn ruled(
    object: &Object,
    rule: &Rule,
    workload: &Workload,
    settings: &RuleSettings,
) -> Result<Entry, (usize, String)> {
    let data = attributes(workload, settings);
    let render = |text: &Text| rendered(text, &data).map_err(|error| (text.line, error));
    let id = render(&rule.id)?;
    let spiffe_id = SpiffeId::parse(&id)
        .map_err(|error| (rule.id.line, format!("the ID is {id:?}: {error}")))?;
    let mut selectors = workload.selectors.clone();
    for template in &rule.selectors {
        let text = render(template)?;
        let selector = Selector::parse(&text).map_err(|e| (template.line, e.to_string()))?;
        selectors.insert(selector);
    }
    let dns_names = rule.dns_names.iter().map(render).collect::<Result<_, _>>()?;
    let kind = object.spec.kind();
    Ok(Entry {
        id: entry_id(&[kind, &object.name, &workload.namespace, &workload.name]),
        spiffe_id,
        parent: settings.parent.clone(),
        selectors,
        x509_ttl: rule.x509_ttl,
        jwt_ttl: rule.jwt_ttl,
        dns_names,
        // Of its machine a rule for workloads knows nothing.
        ip_addresses: Vec::new(),
        hint: rule.hint.clone(),
        federates_with: rule.federates_with.clone(),
        created: Timestamp::UNIX_EPOCH,
        revision: 0,
        origin: format!("{kind} {} ({})", object.name, object.file),
        expires: None,
    })
}

/// The same for the same origin, in every run.
fn entry_id(parts: &[&str]) -> String {
    hex::encode(&digest(&SHA256, parts.join("/").as_bytes()).as_ref()[..16])
}

/// What templates see, in the names of SPIRE's controller manager.
fn attributes(workload: &Workload, settings: &RuleSettings) -> Value {
    let text = |text: &str| Value::text(text.as_bytes());
    let texts = |map: &BTreeMap<String, String>| {
        Value::map(map.iter().map(|(key, value)| (key.clone().into_bytes(), text(value))))
    };
    let map = |fields: Vec<(&str, Value)>| {
        Value::map(fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)))
    };
    map(vec![
        ("TrustDomain", text(settings.trust_domain.as_str())),
        ("ClusterName", text(&settings.cluster)),
        ("ClusterDomain", text(&settings.cluster_domain)),
        (
            "PodMeta",
            map(vec![
                ("Name", text(&workload.name)),
                ("Namespace", text(&workload.namespace)),
                ("Labels", texts(&workload.labels)),
                ("Annotations", texts(&workload.annotations)),
            ]),
        ),
        ("PodSpec", map(vec![("ServiceAccountName", text(&workload.service_account))])),
    ])
}

/// A template sees its data, and nothing else.
struct Nothing;

impl Source for Nothing {
    fn ask(&self, _: &Need) -> Answer {
        Answer::Failed("an ID cannot depend on secrets".to_owned())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("an ID cannot depend on files".to_owned())
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn rendered(text: &Text, data: &Value) -> Result<String, String> {
    let options = Options { missing_key: MissingKey::Error, ..Options::default() };
    let template = Template::parse("template", text.text.as_bytes(), &options)
        .map_err(|error| error.to_string())?;
    let output =
        template.render_with(data.clone(), &Nothing, &LIMITS).map_err(|error| error.to_string())?;
    let bytes = output.bytes.expose().clone();
    String::from_utf8(bytes).map_err(|_| "the result is not text".to_owned())
}
