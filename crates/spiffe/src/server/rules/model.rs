//! What the files say, checked for its form.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use holdfast_types::{SpiffeId, TrustDomain};

use super::selector::LabelSelector;
use crate::Selector;

/// A declared object, and where it stands.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: String,
    pub(super) line: usize,
    /// `metadata.name`
    pub(super) name: String,
    pub(super) spec: Spec,
}

#[derive(Debug)]
pub(super) enum Spec {
    Rule(Rule),
    Static(Static),
}

impl Spec {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Rule(_) => "ClusterSPIFFEID",
            Self::Static(_) => "ClusterStaticEntry",
        }
    }
}

/// A template and its line.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) line: usize,
    pub(super) text: String,
}

/// `spec` of a `ClusterSPIFFEID`
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Text,
    pub(super) pods: LabelSelector,
    pub(super) namespaces: LabelSelector,
    pub(super) dns_names: Vec<Text>,
    pub(super) selectors: Vec<Text>,
    pub(super) federates_with: BTreeSet<TrustDomain>,
    pub(super) x509_ttl: Option<Duration>,
    pub(super) jwt_ttl: Option<Duration>,
    pub(super) hint: String,
    /// Only for workloads that no other rule selects.
    pub(super) is_fallback: bool,
}

/// `spec` of a `ClusterStaticEntry`
#[derive(Debug)]
pub(super) struct Static {
    pub(super) spiffe_id: SpiffeId,
    pub(super) parent: SpiffeId,
    pub(super) selectors: BTreeSet<Selector>,
    pub(super) dns_names: Vec<String>,
    pub(super) ip_addresses: Vec<IpAddr>,
    pub(super) federates_with: BTreeSet<TrustDomain>,
    pub(super) x509_ttl: Option<Duration>,
    pub(super) jwt_ttl: Option<Duration>,
    pub(super) hint: String,
}

/// A workload of the platform: what rules select, and what templates see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `.PodMeta.Name`; unique in its namespace.
    pub name: String,
    /// `.PodMeta.Namespace`
    pub namespace: String,
    /// `.PodSpec.ServiceAccountName`
    pub service_account: String,
    /// `.PodMeta.Labels`
    pub labels: BTreeMap<String, String>,
    /// `.PodMeta.Annotations`
    pub annotations: BTreeMap<String, String>,
    /// How the agent knows it. Default: `holdfast:service:<name>`.
    pub selectors: BTreeSet<Selector>,
    pub(super) line: usize,
}
