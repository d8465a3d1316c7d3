//! From YAML to what it means, with every problem at its line.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use holdfast_types::{SpiffeId, TrustDomain, Ttl, closest};

use super::Problem;
use super::model::{Object, Rule, Spec, Static, Text, Workload};
use super::selector::{Expression, LabelSelector, Operator};
use super::yaml::{Content, Node, documents};
use crate::Selector;

const API: &str = "spire.spiffe.io/v1alpha1";

/// The objects of a file. What is wrong is noted, and the rest is read nevertheless.
pub(super) fn objects(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Object> {
    let mut reader = Reader { file, problems };
    let Some(documents) = reader.documents(text) else { return Vec::new() };
    documents.into_iter().filter_map(|node| reader.object(node)).collect()
}

/// The workloads of a file: a list of them.
pub(super) fn workloads(file: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Workload> {
    let mut reader = Reader { file, problems };
    let Some(documents) = reader.documents(text) else { return Vec::new() };
    let mut found: Vec<Workload> = Vec::new();
    let mut lines: HashMap<(String, String), usize> = HashMap::new();
    for document in documents {
        for node in reader.list(document) {
            let Some(workload) = reader.workload(node) else { continue };
            match lines.entry((workload.namespace.clone(), workload.name.clone())) {
                Entry::Occupied(known) => {
                    let line = known.get();
                    let text = format!("workload {:?} stands at line {line}, too", workload.name);
                    reader.note(workload.line, text);
                }
                Entry::Vacant(place) => {
                    place.insert(workload.line);
                    found.push(workload);
                }
            }
        }
    }
    found
}

/// Notes objects of one kind and one name.
pub(super) fn check_names(objects: &[Object], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(&str, &str), &Object> = BTreeMap::new();
    for object in objects {
        let kind = object.spec.kind();
        if let Some(first) = seen.insert((kind, &object.name), object) {
            problems.push(Problem {
                file: object.file.clone(),
                line: object.line,
                text: format!(
                    "{kind} {:?} is declared in {}:{}, too",
                    object.name, first.file, first.line
                ),
            });
        }
    }
}

struct Reader<'r> {
    file: &'r str,
    problems: &'r mut Vec<Problem>,
}

/// The fields of a mapping; what is not taken was not known.
struct Fields {
    line: usize,
    fields: Vec<(String, usize, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    fn take(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        let at = self.fields.iter().position(|(known, ..)| known == name)?;
        let (.., node) = self.fields.remove(at);
        (!node.is_null()).then_some(node)
    }
}

impl Reader<'_> {
    fn note(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Problem { file: self.file.to_owned(), line, text: text.into() });
    }

    fn documents(&mut self, text: &str) -> Option<Vec<Node>> {
        documents(text).map_err(|(line, text)| self.note(line, text)).ok()
    }

    fn fields(&mut self, node: Node) -> Option<Fields> {
        match node.content {
            Content::Map(fields) => Some(Fields { line: node.line, fields, known: Vec::new() }),
            _ => {
                self.note(node.line, "a mapping is wanted here");
                None
            }
        }
    }

    /// Notes what was not taken.
    fn finish(&mut self, fields: Fields) {
        for (name, line, _) in fields.fields {
            let near = closest(&name, fields.known.iter().copied());
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            self.note(line, format!("unknown key {name:?}{hint}"));
        }
    }

    fn text(&mut self, node: Node) -> Option<Text> {
        match node.content {
            Content::Scalar(text, _) => Some(Text { line: node.line, text }),
            _ => {
                self.note(node.line, "a text is wanted here");
                None
            }
        }
    }

    fn optional_text(&mut self, fields: &mut Fields, name: &'static str) -> Option<Text> {
        fields.take(name).and_then(|node| self.text(node))
    }

    fn wanted_text(&mut self, fields: &mut Fields, name: &'static str) -> Option<Text> {
        let before = self.problems.len();
        let found = self.optional_text(fields, name).filter(|text| !text.text.is_empty());
        if found.is_none() && self.problems.len() == before {
            self.note(fields.line, format!("{name:?} is missing"));
        }
        found
    }

    fn flag(&mut self, fields: &mut Fields, name: &'static str) -> bool {
        let Some(text) = self.optional_text(fields, name) else { return false };
        match text.text.as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.note(text.line, format!("{name:?} is true or false"));
                false
            }
        }
    }

    /// Notes a flag that would ask for what is not served here.
    fn absent_flag(&mut self, fields: &mut Fields, name: &'static str) {
        let line = fields.fields.iter().find(|(known, ..)| known == name).map(|(_, line, _)| *line);
        if self.flag(fields, name) {
            self.note(line.unwrap_or_default(), format!("{name:?} is not supported"));
        }
    }

    fn list(&mut self, node: Node) -> Vec<Node> {
        match node.content {
            Content::List(items) => items,
            _ => {
                self.note(node.line, "a list is wanted here");
                Vec::new()
            }
        }
    }

    fn texts(&mut self, fields: &mut Fields, name: &'static str) -> Vec<Text> {
        let items = fields.take(name).map(|node| self.list(node)).unwrap_or_default();
        items.into_iter().filter_map(|node| self.text(node)).collect()
    }

    fn map(&mut self, fields: &mut Fields, name: &'static str) -> BTreeMap<String, String> {
        let Some(node) = fields.take(name) else { return BTreeMap::new() };
        let Some(found) = self.fields(node) else { return BTreeMap::new() };
        let one = |(key, _, node)| Some((key, self.text(node)?.text));
        found.fields.into_iter().filter_map(one).collect()
    }

    /// A parsed text, or a note of why it does not parse.
    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        text: &Text,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(&text.text)
            .map_err(|error| self.note(text.line, format!("{:?}: {error}", text.text)))
            .ok()
    }

    fn ttl(&mut self, fields: &mut Fields, name: &'static str) -> Option<Duration> {
        let text = self.optional_text(fields, name)?;
        let ttl = self.parsed(&text, Ttl::parse)?;
        (!ttl.0.is_zero()).then_some(ttl.0)
    }

    fn domains(&mut self, fields: &mut Fields) -> BTreeSet<TrustDomain> {
        let texts = self.texts(fields, "federatesWith");
        texts.iter().filter_map(|text| self.parsed(text, TrustDomain::parse)).collect()
    }

    fn selectors(&mut self, fields: &mut Fields) -> BTreeSet<Selector> {
        let texts = self.texts(fields, "selectors");
        texts.iter().filter_map(|text| self.parsed(text, Selector::parse)).collect()
    }

    fn object(&mut self, node: Node) -> Option<Object> {
        let mut fields = self.fields(node)?;
        let line = fields.line;
        let api = self.wanted_text(&mut fields, "apiVersion")?;
        if api.text != API {
            self.note(api.line, format!("apiVersion {:?} is not {API:?}", api.text));
            return None;
        }
        let kind = self.wanted_text(&mut fields, "kind")?;
        let name = fields.take("metadata").and_then(|node| self.metadata(node));
        let spec = fields.take("spec");
        // What a cluster writes there.
        fields.take("status");
        self.finish(fields);
        let Some(spec) = spec else {
            self.note(line, "\"spec\" is missing");
            return None;
        };
        let spec = match kind.text.as_str() {
            "ClusterSPIFFEID" => self.rule(spec).map(Spec::Rule),
            "ClusterStaticEntry" => self.fixed(spec).map(Spec::Static),
            other => {
                let text = format!("{other:?} is not a ClusterSPIFFEID or ClusterStaticEntry");
                self.note(kind.line, text);
                None
            }
        };
        let Some(name) = name else {
            self.note(line, "\"metadata.name\" is missing");
            return None;
        };
        Some(Object { file: self.file.to_owned(), line, name, spec: spec? })
    }

    fn metadata(&mut self, node: Node) -> Option<String> {
        let mut fields = self.fields(node)?;
        let name = self.wanted_text(&mut fields, "name").map(|text| text.text);
        self.map(&mut fields, "labels");
        self.map(&mut fields, "annotations");
        self.finish(fields);
        name
    }

    fn rule(&mut self, node: Node) -> Option<Rule> {
        let mut fields = self.fields(node)?;
        let id = self.wanted_text(&mut fields, "spiffeIDTemplate");
        let pods = fields.take("podSelector").and_then(|node| self.label_selector(node));
        let namespaces =
            fields.take("namespaceSelector").and_then(|node| self.label_selector(node));
        let dns_names = self.texts(&mut fields, "dnsNameTemplates");
        let selectors = self.texts(&mut fields, "workloadSelectorTemplates");
        let federates_with = self.domains(&mut fields);
        let x509_ttl = self.ttl(&mut fields, "ttl");
        let jwt_ttl = self.ttl(&mut fields, "jwtTtl");
        let hint = self.optional_text(&mut fields, "hint");
        let is_fallback = self.flag(&mut fields, "fallback");
        self.common(&mut fields);
        self.absent_flag(&mut fields, "autoPopulateDNSNames");
        self.finish(fields);
        Some(Rule {
            id: id?,
            pods: pods.unwrap_or_default(),
            namespaces: namespaces.unwrap_or_default(),
            dns_names,
            selectors,
            federates_with,
            x509_ttl,
            jwt_ttl,
            hint: hint.map(|hint| hint.text).unwrap_or_default(),
            is_fallback,
        })
    }

    fn fixed(&mut self, node: Node) -> Option<Static> {
        let mut fields = self.fields(node)?;
        let spiffe_id = self.wanted_text(&mut fields, "spiffeID");
        let spiffe_id = spiffe_id.and_then(|text| self.parsed(&text, SpiffeId::parse));
        let parent = self.wanted_text(&mut fields, "parentID");
        let parent = parent.and_then(|text| self.parsed(&text, SpiffeId::parse));
        let selectors = self.selectors(&mut fields);
        let dns_names = self.texts(&mut fields, "dnsNames");
        let addresses = self.texts(&mut fields, "ipAddresses");
        let ip_addresses =
            addresses.iter().filter_map(|text| self.parsed(text, str::parse)).collect();
        let federates_with = self.domains(&mut fields);
        let x509_ttl = self.ttl(&mut fields, "x509SVIDTTL");
        let jwt_ttl = self.ttl(&mut fields, "jwtSVIDTTL");
        let hint = self.optional_text(&mut fields, "hint");
        self.common(&mut fields);
        self.absent_flag(&mut fields, "storeSVID");
        self.finish(fields);
        Some(Static {
            spiffe_id: spiffe_id?,
            parent: parent?,
            selectors,
            dns_names: dns_names.into_iter().map(|text| text.text).collect(),
            ip_addresses,
            federates_with,
            x509_ttl,
            jwt_ttl,
            hint: hint.map(|hint| hint.text).unwrap_or_default(),
        })
    }

    /// What both kinds have, and is of no use here.
    fn common(&mut self, fields: &mut Fields) {
        self.optional_text(fields, "className");
        self.absent_flag(fields, "admin");
        self.absent_flag(fields, "downstream");
    }

    fn label_selector(&mut self, node: Node) -> Option<LabelSelector> {
        let mut fields = self.fields(node)?;
        let labels = self.map(&mut fields, "matchLabels");
        let items = fields.take("matchExpressions").map(|node| self.list(node)).unwrap_or_default();
        self.finish(fields);
        let expressions = items.into_iter().filter_map(|node| self.expression(node)).collect();
        Some(LabelSelector { labels, expressions })
    }

    fn expression(&mut self, node: Node) -> Option<Expression> {
        let mut fields = self.fields(node)?;
        let key = self.wanted_text(&mut fields, "key");
        let operator = self.wanted_text(&mut fields, "operator");
        let values = self.texts(&mut fields, "values");
        let line = fields.line;
        self.finish(fields);
        let operator = operator?;
        let Some(parsed) = Operator::parse(&operator.text) else {
            let text = format!("{:?} is not In, NotIn, Exists or DoesNotExist", operator.text);
            self.note(operator.line, text);
            return None;
        };
        if parsed.has_values() == values.is_empty() {
            let which = if values.is_empty() { "needs values" } else { "has no values" };
            self.note(line, format!("{} {which}", operator.text));
        }
        let values = values.into_iter().map(|text| text.text).collect();
        Some(Expression { key: key?.text, operator: parsed, values })
    }

    fn workload(&mut self, node: Node) -> Option<Workload> {
        let mut fields = self.fields(node)?;
        let line = fields.line;
        let name = self.wanted_text(&mut fields, "name");
        let namespace = self.optional_text(&mut fields, "namespace");
        let account = self.optional_text(&mut fields, "serviceAccount");
        let labels = self.map(&mut fields, "labels");
        let annotations = self.map(&mut fields, "annotations");
        let mut selectors = self.selectors(&mut fields);
        self.finish(fields);
        let name = name?.text;
        if selectors.is_empty() {
            selectors.insert(Selector::of_service(&name));
        }
        Some(Workload {
            namespace: namespace.map_or_else(|| "default".to_owned(), |text| text.text),
            service_account: account.map_or_else(|| name.clone(), |text| text.text),
            name,
            labels,
            annotations,
            selectors,
            line,
        })
    }
}
