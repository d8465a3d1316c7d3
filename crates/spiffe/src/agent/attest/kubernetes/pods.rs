//! The pods of a node, as the kubelet lists them at `/pods`, and the selectors that they give.
//!
//! Source: the Kubernetes API, `v1.PodList`; the selectors' names are those of SPIRE's attestor `k8s`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::cgroup::Container;
use crate::Selector;

/// A list, ready to be asked for containers.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: Vec<Pod>,
    /// Where the container of an id is: of which pods, and its status.
    containers: HashMap<String, Vec<(usize, ContainerStatus)>>,
}

/// Two pods have a container of one id: neither can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two pods have a container of this id")]
pub(super) struct TwoPods;

#[derive(Debug, Deserialize)]
struct PodList {
    kind: String,
    // An empty list is null.
    items: Option<Vec<Pod>>,
}

#[derive(Debug, Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    service_account_name: String,
    #[serde(default)]
    node_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(rename = "imageID", default)]
    image_id: String,
    /// Such as `containerd://<id>`; none before it runs.
    #[serde(rename = "containerID", default)]
    container_id: String,
}

impl ContainerStatus {
    fn id(&self) -> Option<&str> {
        self.container_id.split_once("://").map(|(_, id)| id).filter(|id| !id.is_empty())
    }

    /// With the tag, and with the digest.
    fn images(&self) -> [&str; 2] {
        [&self.image, &self.image_id]
    }
}

impl Pods {
    /// Reads the kubelet's answer.
    ///
    /// # Errors
    /// It is no list of pods.
    pub(super) fn parse(answer: &[u8]) -> Result<Self, serde_json::Error> {
        let list: PodList = serde_json::from_slice(answer)?;
        if list.kind != "PodList" {
            return Err(serde::de::Error::custom("it is no PodList"));
        }
        let pods = list.items.unwrap_or_default();
        let mut containers: HashMap<String, Vec<_>> = HashMap::new();
        for (place, Pod { status, .. }) in pods.iter().enumerate() {
            for one in status.container_statuses.iter().chain(&status.init_container_statuses) {
                if let Some(id) = one.id() {
                    containers.entry(id.to_owned()).or_default().push((place, one.clone()));
                }
            }
        }
        Ok(Self { pods, containers })
    }

    /// What is known of a container; nothing where it is not listed, or not in that pod.
    pub(super) fn selectors(
        &self,
        container: &Container,
    ) -> Result<Option<BTreeSet<Selector>>, TwoPods> {
        let listed = self.containers.get(&container.id).map(Vec::as_slice).unwrap_or_default();
        let is_its = |pod: &Pod| container.pod.as_ref().is_none_or(|uid| *uid == pod.metadata.uid);
        let mut found = None;
        for (place, status) in listed.iter().filter(|(place, _)| is_its(&self.pods[*place])) {
            match &found {
                Some((other, _)) if other != place => return Err(TwoPods),
                _ => found = Some((*place, status)),
            }
        }
        Ok(found.map(|(place, status)| self.pods[place].selectors(status)))
    }
}

impl Pod {
    fn selectors(&self, container: &ContainerStatus) -> BTreeSet<Selector> {
        let Self { metadata, spec, status } = self;
        let mut values = vec![
            format!("ns:{}", metadata.namespace),
            format!("sa:{}", spec.service_account_name),
            format!("node-name:{}", spec.node_name),
            format!("pod-uid:{}", metadata.uid),
            format!("pod-name:{}", metadata.name),
            format!("pod-image-count:{}", status.container_statuses.len()),
            format!("pod-init-image-count:{}", status.init_container_statuses.len()),
            format!("container-name:{}", container.name),
        ];
        let mut add = |name: &str, of: &[ContainerStatus]| {
            // One that was not pulled yet has no digest.
            let images = of.iter().flat_map(ContainerStatus::images);
            let images = images.filter(|image| !image.is_empty());
            values.extend(images.map(|image| format!("{name}:{image}")));
        };
        add("pod-image", &status.container_statuses);
        add("pod-init-image", &status.init_container_statuses);
        add("container-image", std::slice::from_ref(container));
        let labels = &metadata.labels;
        values.extend(labels.iter().map(|(name, value)| format!("pod-label:{name}:{value}")));
        for Owner { kind, name, uid } in &metadata.owner_references {
            values.push(format!("pod-owner:{kind}:{name}"));
            values.push(format!("pod-owner-uid:{kind}:{uid}"));
        }
        values.into_iter().map(|value| Selector::new("k8s", value)).collect()
    }
}
