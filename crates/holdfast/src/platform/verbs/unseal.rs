//! `holdfast unseal`.

use super::super::control::Request;
use super::{Place, block_on};

/// `holdfast unseal`: sealing is an operator's emergency brake; this lets it go.
#[derive(Debug, clap::Args)]
pub(crate) struct Unseal {
    #[command(flatten)]
    place: Place,
}

impl Unseal {
    pub(super) fn run(self) -> anyhow::Result<()> {
        block_on(self.place.ask::<()>(&Request::Unseal))?;
        println!("the secrets server is open");
        Ok(())
    }
}
