//! `holdfast restart`.

use super::super::control::Request;
use super::place::PlaceOption;
use super::{Place, block_on};

/// `holdfast restart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    /// Only this one: `vault`, `postgres`, or a service.
    part: Option<String>,
    #[command(flatten)]
    place: PlaceOption,
}

impl Restart {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let place = Place::from(self.place);
        let request = Request::Restart { part: self.part };
        let restarted: Vec<String> = block_on(place.ask(&request))?;
        println!("restarted {}", restarted.join(", "));
        Ok(())
    }
}
