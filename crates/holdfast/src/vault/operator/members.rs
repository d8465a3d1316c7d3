//! `operator members`: the servers that form the cluster.

use clap::Args;
use holdfast_client::vault::Method;
use serde::{Deserialize, Serialize};

use super::super::connection::{Connection, explain};
use super::super::output::{Format, FormatFlag, print_document, print_rows};
use super::super::{Failure, Outcome};

/// List the servers that form the cluster.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator members")]
pub(in super::super) struct Members {
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// What `sys/ha-status` answers; the official client prints `Nodes`, as it names it itself.
#[derive(Deserialize, Serialize)]
struct Cluster {
    #[serde(rename(serialize = "Nodes", deserialize = "nodes"))]
    nodes: Vec<Node>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Node {
    hostname: String,
    api_address: String,
    cluster_address: String,
    active_node: bool,
    last_echo: Option<String>,
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    upgrade_version: String,
}

impl Members {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let response = client.request(Method::GET, "sys/ha-status", None, &[]).await;
        let cluster = response.and_then(|response| super::payload::<Cluster>(&response.success()?));
        let cluster = cluster.map_err(|error| Failure::Request(explain(&error)))?;
        if format != Format::Table {
            return print_document(format, &cluster);
        }
        let heading = [
            "Host Name",
            "API Address",
            "Cluster Address",
            "Active Node",
            "Version",
            "Upgrade Version",
            "Last Echo",
        ];
        let rows = cluster.nodes.into_iter().map(|node| {
            vec![
                node.hostname,
                node.api_address,
                node.cluster_address,
                node.active_node.to_string(),
                node.version,
                node.upgrade_version,
                node.last_echo.unwrap_or_default(),
            ]
        });
        print_rows(&heading, rows.collect())
    }
}
