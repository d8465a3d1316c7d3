//! Who is to be who: the platform's services, the rules of `identity/*.yaml`, and what holds where
//! they say nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use holdfast_spiffe::server::local_agent;
use holdfast_spiffe::server::rules::{Declared, RuleSettings};
use holdfast_spiffe::{Entry, Selector};
use holdfast_types::{SpiffeId, TrustDomain};
use serde_json::Value;

use super::super::config::{Engine, Platform};
use super::super::{files, postgres, vault};

/// The platform's services, for the rules.
pub(crate) const WORKLOADS: &str = "workloads";
/// What holds without a rule, and the parts' own entries.
const OWN: &str = "holdfast.own.yaml";
/// Where rules are in the platform directory.
const IDENTITY: &str = "identity";
/// Identities of the platform's own parts are below it.
const RESERVED: &str = "/holdfast/";

/// All that the SPIFFE server is to know of workloads.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    /// File names and texts.
    files: Vec<(String, String)>,
    entries: Vec<Entry>,
}

impl Declarations {
    /// Reads the platform directory.
    ///
    /// # Errors
    /// All that is wrong in its rules, by file and line.
    pub(crate) fn read(platform: &Platform) -> anyhow::Result<Self> {
        let directory = platform.directory.join(IDENTITY);
        Self::with_rules(platform, directory.is_dir().then_some(directory.as_path()))
    }

    /// What holds of the platform's own parts, whatever is in its directory.
    pub(crate) fn of_parts(platform: &Platform) -> anyhow::Result<Self> {
        Self::with_rules(platform, None)
    }

    fn with_rules(platform: &Platform, rules: Option<&Path>) -> anyhow::Result<Self> {
        let mut declared = Declared::read(rules, None)?;
        for (file, _) in &mut declared.rules {
            // As it is called in the platform directory.
            let name = Path::new(file.as_str()).file_name().unwrap_or_default();
            ensure!(name != OWN, "{file}: rename it: the platform writes a file of this name");
            *file = Path::new(IDENTITY).join(name).display().to_string();
        }
        declared.rules.push((OWN.to_owned(), own(platform)));
        declared.workloads = Some(("holdfast.toml".to_owned(), workloads(platform)));
        let trust_domain = TrustDomain::parse(&platform.trust_domain)?;
        let settings = RuleSettings {
            parent: local_agent(&trust_domain).context("the trust domain's name is too long")?,
            trust_domain,
            cluster: platform.name.clone(),
            cluster_domain: platform.domain.clone(),
        };
        let entries = declared.entries(&settings)?;
        let is_own = |entry: &Entry| entry.origin.ends_with(&format!("({OWN})"));
        for entry in entries.iter().filter(|entry| !is_own(entry)) {
            ensure!(
                !entry.spiffe_id.path().starts_with(RESERVED),
                "{}: {} is for the platform's own parts: choose a path outside of {RESERVED}",
                entry.origin,
                entry.spiffe_id
            );
        }
        let mut texts = declared.rules;
        texts.extend(declared.workloads.map(|(_, text)| (WORKLOADS.to_owned(), text)));
        for (file, _) in &mut texts {
            *file = file.trim_start_matches("identity/").to_owned();
        }
        Ok(Self { files: texts, entries })
    }

    /// Writes them where the SPIFFE server, which may be another user, reads them.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        files::directory(directory, 0o755, None)?;
        for (name, text) in &self.files {
            let path = directory.join(name);
            if files::read(&path)?.as_deref() != Some(text.as_bytes()) {
                files::write(&path, text.as_bytes(), 0o644, None)
                    .with_context(|| format!("write {}", path.display()))?;
            }
        }
        for found in fs::read_dir(directory)?.flatten() {
            let is_known = |(name, _): &(String, String)| *found.file_name() == **name;
            if !self.files.iter().any(is_known) {
                files::remove(&found.path())?;
            }
        }
        Ok(())
    }

    /// The same, but what is there of the services stays.
    pub(crate) fn write_parts(&self, directory: &Path) -> anyhow::Result<()> {
        if !directory.join(WORKLOADS).exists() {
            return self.write(directory);
        }
        let own = |(name, text): &(String, String)| (name == OWN).then(|| text.clone());
        let text = self.files.iter().find_map(own).unwrap_or_default();
        let path = directory.join(OWN);
        files::write(&path, text.as_bytes(), 0o644, None)
            .with_context(|| format!("write {}", path.display()))
    }

    /// The entries that they make.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The identity of a service, if the rules give it one: where they give several, the one that
    /// asks for least.
    pub(crate) fn service(&self, name: &str) -> Option<&Entry> {
        let selector = Selector::of_service(name);
        let own = self.entries.iter().filter(|entry| entry.selectors.contains(&selector));
        own.min_by_key(|entry| (entry.selectors.len(), &entry.id))
    }

    /// The identity of a part of the platform.
    pub(crate) fn part(&self, name: &str) -> Option<&Entry> {
        let selectors = BTreeSet::from([Selector::of_part(name)]);
        self.entries.iter().find(|entry| entry.selectors == selectors)
    }
}

/// Whether an identity is one of the platform's own parts'.
pub(crate) fn is_part(id: &SpiffeId) -> bool {
    id.path().starts_with(RESERVED)
}

/// As a string of YAML.
fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

fn workloads(platform: &Platform) -> String {
    let mut text = String::new();
    for (name, service) in &platform.services {
        let _ = write!(
            text,
            "- name: {}\n  namespace: {}\n  labels:\n    app: {}\n",
            quote(name),
            quote(&platform.spiffe.namespace),
            quote(name)
        );
        for (label, value) in service.labels.iter().filter(|(label, _)| *label != "app") {
            let _ = writeln!(text, "    {}: {}", quote(label), quote(value));
        }
    }
    if text.is_empty() { "[]\n".to_owned() } else { text }
}

fn own(platform: &Platform) -> String {
    let mut text = "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata:
  name: holdfast-services
spec:
  spiffeIDTemplate: \"spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}\"
  fallback: true
"
    .to_owned();
    let trust_domain = &platform.trust_domain;
    let mut parts = vec![("supervisor", None)];
    if let Engine::Embedded { .. } | Engine::Managed { .. } = platform.vault.engine {
        parts.push((vault::NAME, Some(platform.vault.served_names())));
    }
    let server = platform.postgres.as_ref();
    parts.extend(server.map(|server| (postgres::NAME, Some(server.served_names()))));
    for (part, names) in parts {
        let _ = write!(
            text,
            "---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterStaticEntry
metadata:
  name: holdfast-{part}
spec:
  spiffeID: {}
  parentID: {}
  selectors:
    - {}
",
            quote(&format!("spiffe://{trust_domain}{RESERVED}{part}")),
            quote(&format!("spiffe://{trust_domain}/spire/agent/local")),
            quote(&Selector::of_part(part).to_string()),
        );
        let Some(names) = names else { continue };
        let is_address = |name: &String| name.parse::<IpAddr>().is_ok();
        let (addresses, names): (Vec<_>, Vec<_>) = names.into_iter().partition(is_address);
        for (key, values) in [("dnsNames", names), ("ipAddresses", addresses)] {
            let _ = writeln!(text, "  {key}:");
            for value in values {
                let _ = writeln!(text, "    - {}", quote(&value));
            }
        }
    }
    text
}
