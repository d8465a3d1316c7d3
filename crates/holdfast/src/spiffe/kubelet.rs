//! An agent on a node of Kubernetes: the kubelet that tells it of pods.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use holdfast_spiffe::agent::attest::{Kubelet, KubeletSettings};

use super::server::read;

/// An agent on a node of Kubernetes.
#[derive(Debug, Args)]
#[command(next_help_heading = "On a node of Kubernetes")]
pub(super) struct Kubernetes {
    /// The node's kubelet, by a name of its certificate. Processes in pods then show `k8s:ns:`,
    /// `k8s:sa:` and what else SPIRE knows of pods. The agent must see the node's processes
    /// (`hostPID`) and may `get` `nodes/proxy`.
    #[arg(long = "kubelet", value_name = "https://HOST:10250")]
    kubelet: Option<String>,
    /// The authorities of the kubelet's certificate, PEM.
    #[arg(
        long = "kubeletCACert",
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        requires = "kubelet"
    )]
    ca_cert: PathBuf,
    /// The agent's service account token; read anew for each question.
    #[arg(
        long = "kubeletTokenFile",
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token",
        requires = "kubelet"
    )]
    token_file: PathBuf,
}

impl Kubernetes {
    /// The kubelet, where there is one.
    pub(super) fn kubelet(self) -> anyhow::Result<Option<Kubelet>> {
        let Some(url) = self.kubelet else { return Ok(None) };
        let authorities = read(&self.ca_cert, "-kubeletCACert")?.to_vec();
        let token_file = self.token_file;
        let kubelet = Kubelet::new(KubeletSettings { url, authorities, token_file });
        kubelet.map(Some).context("set up the kubelet of -kubelet")
    }
}
