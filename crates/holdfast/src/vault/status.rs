//! `status`: is the server initialised, sealed, the active one?

use std::process::ExitCode;

use clap::Args;
use holdfast_client::vault::{Method, VaultClient, VaultError};
use serde::{Deserialize, Serialize};

use super::connection::{Connection, explain};
use super::output::{FieldFlags, Format, print_document, print_field, print_rows};
use super::{Failure, Outcome};

/// Show whether the server is initialized, sealed and active.
///
/// It answers without a token, sealed or not. Exit code: 0 unsealed, 2 sealed, 1 on errors.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault status -format=json")]
pub(super) struct Status {
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

/// What is shown, in the official order.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct SealStatus {
    #[serde(rename = "type")]
    kind: String,
    pub(super) initialized: bool,
    pub(super) sealed: bool,
    t: u64,
    n: u64,
    pub(super) progress: u64,
    pub(super) nonce: String,
    version: String,
    commit_date: String,
    pub(super) migration: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster_id: String,
    recovery_seal: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    recovery_seal_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    build_date: String,
    #[serde(flatten)]
    leader: Leader,
}

/// `sys/leader`.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Leader {
    ha_enabled: bool,
    #[serde(skip_serializing_if = "is_false")]
    is_self: bool,
    #[serde(skip_serializing_if = "is_no_time")]
    active_time: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    leader_address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    leader_cluster_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    raft_committed_index: u64,
    #[serde(skip_serializing_if = "is_zero")]
    raft_applied_index: u64,
}

impl Status {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        // Asked of the whole server, whatever the namespace.
        let client = self.connection.client().map_err(Failure::into_usage)?.with_namespace(None);
        // 2 means "sealed" here: every error is a local one.
        let response = client.request(Method::GET, "sys/seal-status", None, &[]).await;
        let mut status: SealStatus =
            response.and_then(|response| response.success()?.parse()).map_err(|error| {
                Failure::Usage(format!("Error checking seal status: {}", explain(&error)))
            })?;
        status.ask_leader(&client).await?;
        let outcome = match &self.output.field {
            Some(field) => status.print_field(format, field),
            None => status.print(format),
        };
        match outcome {
            // The official client tells of an unknown field, and goes on.
            Err(Failure::Usage(text)) => super::output::warn(&text),
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
        Ok(ExitCode::from(if status.sealed { 2 } else { 0 }))
    }
}

impl SealStatus {
    /// Adds what `sys/leader` says. A sealed server does not answer it, and then is one of several.
    pub(super) async fn ask_leader(&mut self, client: &VaultClient) -> Result<(), Failure> {
        let response = client.request(Method::GET, "sys/leader", None, &[]).await;
        match response.and_then(|response| response.success()?.parse()) {
            Ok(leader) => self.leader = leader,
            Err(VaultError::Sealed(_)) => self.leader.ha_enabled = true,
            Err(error) => {
                let text = format!("Error checking leader status: {}", explain(&error));
                return Err(Failure::Usage(text));
            }
        }
        Ok(())
    }

    pub(super) fn print(&self, format: Format) -> Outcome {
        if format != Format::Table {
            return print_document(format, self);
        }
        print_rows(&["Key", "Value"], self.rows())
    }

    fn print_field(&self, format: Format, field: &str) -> Outcome {
        let mode = if self.leader.is_self { "active" } else { "standby" };
        let value = match field {
            "ha_mode" => Some(mode.into()),
            _ => serde_json::to_value(self).ok().and_then(|value| value.get(field).cloned()),
        };
        print_field(format, value, field, "seal status")
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut add = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
        add("Seal Type", self.kind.clone());
        let recovery = if self.recovery_seal { "Recovery " } else { "" };
        if self.recovery_seal {
            add("Recovery Seal Type", self.recovery_seal_type.clone());
        }
        add("Initialized", self.initialized.to_string());
        add("Sealed", self.sealed.to_string());
        add(&format!("Total {recovery}Shares"), self.n.to_string());
        add("Threshold", self.t.to_string());
        if self.sealed {
            add("Unseal Progress", format!("{}/{}", self.progress, self.t));
            add("Unseal Nonce", self.nonce.clone());
        }
        if self.migration {
            add("Seal Migration in Progress", "true".to_owned());
        }
        for (key, value) in [
            ("Version", &self.version),
            ("Commit Date", &self.commit_date),
            ("Storage Type", &self.storage_type),
        ] {
            if !value.is_empty() {
                add(key, value.clone());
            }
        }
        if !self.cluster_name.is_empty() && !self.cluster_id.is_empty() {
            add("Cluster Name", self.cluster_name.clone());
            add("Cluster ID", self.cluster_id.clone());
        }
        let leader = &self.leader;
        add("HA Enabled", leader.ha_enabled.to_string());
        if leader.ha_enabled && !self.sealed {
            add("HA Cluster", leader.leader_cluster_address.clone());
            add("HA Mode", if leader.is_self { "active" } else { "standby" }.to_owned());
            if leader.is_self && !is_no_time(&leader.active_time) {
                add("Active Since", leader.active_time.clone());
            }
            if !leader.is_self && !leader.leader_address.is_empty() {
                add("Active Node Address", leader.leader_address.clone());
            }
        }
        for (key, index) in [
            ("Raft Committed Index", leader.raft_committed_index),
            ("Raft Applied Index", leader.raft_applied_index),
        ] {
            if index > 0 {
                add(key, index.to_string());
            }
        }
        rows
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Go's zero time stands for none.
fn is_no_time(text: &str) -> bool {
    text.is_empty() || text.starts_with("0001-01-01")
}
