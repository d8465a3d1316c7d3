//! `show`: the SVIDs that the agent holds.

use anyhow::{Context, ensure};
use clap::Args;
use holdfast_keys::x509::Certificate;
use holdfast_spiffe::proto::agent::{HeldSvid, ShowRequest};
use holdfast_types::{Timestamp, rfc3339};
use serde_json::{Value, json};

use super::Output;
use super::agent::Connection;

/// Show the X.509-SVIDs that workloads of this machine have from the agent, without their keys.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe show\n  holdfast spiffe show backend")]
pub(super) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// A SPIFFE ID, or the last part of its path [default: all]
    name: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let name = self.name.unwrap_or_default();
        let mut admin = self.connection.admin();
        let request = ShowRequest { name: name.clone() };
        let answer = self.connection.answer(admin.show(request)).await?;
        ensure!(
            name.is_empty() || !answer.svids.is_empty(),
            "no workload has asked the agent for an SVID of {name}"
        );
        let svids: Vec<Value> = answer.svids.iter().map(describe).collect::<Result<_, _>>()?;
        if self.output == Output::Json {
            let all = json!({
                "trust_domain": answer.trust_domain, "entries": answer.entries, "svids": svids,
            });
            anstream::println!("{all:#}");
            return Ok(());
        }
        anstream::println!(
            "trust domain {}, {} entries, {} SVIDs",
            answer.trust_domain,
            answer.entries,
            svids.len()
        );
        for svid in &svids {
            let field = |name: &str| svid[name].as_str().unwrap_or_default().to_owned();
            anstream::println!("\nSPIFFE ID   {}", field("spiffe_id"));
            anstream::println!("serial      {}", field("serial"));
            anstream::println!("not before  {}", field("not_before"));
            anstream::println!("not after   {}", field("not_after"));
            anstream::println!("rotated     {}", field("rotate_at"));
            for issuer in svid["chain"].as_array().into_iter().flatten() {
                anstream::println!("signed by   {}", issuer.as_str().unwrap_or_default());
            }
        }
        Ok(())
    }
}

fn describe(svid: &HeldSvid) -> anyhow::Result<Value> {
    let chain: Result<Vec<_>, _> =
        svid.chain.iter().map(|der| Certificate::from_der(der)).collect();
    let chain = chain.context("read the SVID")?;
    let leaf = chain.first().context("the SVID has no certificate")?;
    let time = |seconds| Timestamp::from_second(seconds).map(rfc3339).unwrap_or_default();
    let serial = leaf.serial.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    // The name of each certificate's issuer: what has signed the leaf, up to the bundle's.
    let issuers = chain.iter().map(|certificate| certificate.issuer.to_string());
    Ok(json!({
        "spiffe_id": svid.spiffe_id, "entry_id": svid.entry_id, "serial": serial,
        "not_before": rfc3339(leaf.not_before), "not_after": time(svid.not_after),
        "rotate_at": time(svid.rotate_at), "chain": issuers.collect::<Vec<_>>(),
    }))
}
