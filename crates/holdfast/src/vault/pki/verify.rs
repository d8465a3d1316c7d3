//! `pki verify-sign`: whether one certificate comes from another.

use clap::Args;

use super::certificate::{Issuer, Relation};
use crate::vault::connection::Connection;
use crate::vault::output::{Format, FormatFlag, print_line};
use crate::vault::path::sanitize;
use crate::vault::{Failure, Outcome, table};

/// Tell whether one issuer's certificate was signed by another's, and how they fit together.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault pki verify-sign pki/issuer/root pki_int/issuer/web")]
pub(in crate::vault) struct VerifySign {
    /// The issuer that may have signed
    issuer: String,
    /// The issuer whose certificate it may have signed
    issued: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl VerifySign {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let (issuer, issued) = (sanitize(&self.issuer), sanitize(&self.issued));
        let failed = |text: String| Failure::Usage(format!("Failed to read issuer: {text}"));
        let parent = Issuer::read(&client, issuer).await.map_err(failed)?;
        let child = Issuer::read(&client, issued).await.map_err(failed)?;
        let relation = parent.relation_to(&child);
        let relation =
            relation.ok_or_else(|| Failure::Usage("the certificates cannot be read".into()))?;
        if format != Format::Table {
            return super::print_answer(format, &relation);
        }
        print_line(&format!("issuer:{issuer}\nissued:{issued}\n"))?;
        let rows = rows(&relation).map(|(name, holds)| vec![name.to_owned(), holds.to_string()]);
        print_line(&(table::write(&["field", "value"], rows.to_vec()) + "\n\n"))
    }
}

fn rows(relation: &Relation) -> [(&'static str, bool); 5] {
    [
        ("key_id_match", relation.key_id_match),
        ("path_match", relation.path_match),
        ("signature_match", relation.signature_match),
        ("subject_match", relation.subject_match),
        ("trust_match", relation.trust_match),
    ]
}
