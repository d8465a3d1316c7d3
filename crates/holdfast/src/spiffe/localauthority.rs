//! `localauthority`: the keys that sign, replaced before their time.

use anyhow::Context;
use clap::{Args, Subcommand};
use holdfast_spiffe::proto::node as wire;
use holdfast_spiffe::proto::node::authority::State;
use holdfast_spiffe::proto::node::authority_request::Kind;
use holdfast_types::Timestamp;
use serde_json::{Map, Value, json};
use tonic::{Response, Status};

use super::Output;
use super::api::as_go;
use super::connection::Connection;

/// In the order in which they are shown.
const STANDINGS: [(&str, State); 3] =
    [("Active", State::Active), ("Prepared", State::Prepared), ("Old", State::Old)];

#[derive(Debug, Subcommand)]
pub(super) enum LocalAuthority {
    /// Those that sign X.509-SVIDs.
    #[command(subcommand)]
    X509(Order),
    /// The keys that sign JWT-SVIDs.
    #[command(subcommand)]
    Jwt(Order),
}

#[derive(Debug, Subcommand)]
pub(super) enum Order {
    Show(Show),
    Prepare(Prepare),
    Activate(Activate),
    Taint(Taint),
    Revoke(Revoke),
}

impl LocalAuthority {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (kind, order) = match self {
            Self::X509(order) => (Kind::X509, order),
            Self::Jwt(order) => (Kind::Jwt, order),
        };
        match order {
            Order::Show(Show { common }) => common.show(kind).await,
            Order::Prepare(Prepare { common }) => {
                let mut admin = common.connection.admin();
                let call = admin.prepare_authority(asked(kind, String::new()));
                common.tell(kind, "Prepared", call).await
            }
            Order::Activate(Activate { common, authority_id }) => {
                let mut admin = common.connection.admin();
                let call = admin.activate_authority(asked(kind, authority_id));
                common.tell(kind, "Activated", call).await
            }
            Order::Taint(Taint { common, authority_id }) => {
                let mut admin = common.connection.admin();
                let call = admin.taint_authority(asked(kind, authority_id));
                common.tell(kind, "Tainted", call).await
            }
            Order::Revoke(Revoke { common, authority_id }) => {
                let mut admin = common.connection.admin();
                let call = admin.revoke_authority(asked(kind, authority_id));
                common.tell(kind, "Revoked", call).await
            }
        }
    }
}

/// What each of them takes.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    connection: Connection,
    /// How to tell it.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    output: Output,
}

/// Show which authority signs, which one is prepared, and which ones are old and only verify.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe localauthority x509 show\n  \
                  holdfast spiffe localauthority jwt show -output json")]
pub(super) struct Show {
    #[command(flatten)]
    common: Common,
}

/// Make the next authority now, and publish it: whoever verifies has it before it signs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe localauthority x509 prepare")]
pub(super) struct Prepare {
    #[command(flatten)]
    common: Common,
}

/// Have the prepared authority sign from now on. The one before it becomes old.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe localauthority x509 activate -authorityID 6f1c..."
)]
pub(super) struct Activate {
    #[command(flatten)]
    common: Common,
    /// The prepared authority.
    #[arg(long = "authorityID", value_name = "ID")]
    authority_id: String,
}

/// Have all that an old authority signed replaced, at once and everywhere. It still verifies.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe localauthority x509 taint -authorityID 6f1c..."
)]
pub(super) struct Taint {
    #[command(flatten)]
    common: Common,
    /// The old authority.
    #[arg(long = "authorityID", value_name = "ID")]
    authority_id: String,
}

/// End an old authority that is tainted: nothing that it signed is verified any more.
///
/// An X.509 authority that an upstream signed cannot be revoked: whoever verifies trusts the upstream.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe localauthority x509 revoke -authorityID 6f1c..."
)]
pub(super) struct Revoke {
    #[command(flatten)]
    common: Common,
    /// The old authority.
    #[arg(long = "authorityID", value_name = "ID")]
    authority_id: String,
}

fn asked(kind: Kind, authority_id: String) -> wire::AuthorityRequest {
    wire::AuthorityRequest { kind: kind.into(), authority_id }
}

impl Common {
    /// Gives an order, and tells what it did.
    async fn tell(
        &self,
        kind: Kind,
        done: &str,
        call: impl Future<Output = Result<Response<wire::Authority>, Status>>,
    ) -> anyhow::Result<()> {
        let authority = self.connection.answer(call).await?;
        match self.output {
            Output::Pretty => {
                anstream::println!("{done} {} authority:", noun(kind));
                print(kind, &authority)?;
            }
            Output::Json => {
                let field = format!("{}_authority", done.to_lowercase());
                anstream::println!("{:#}", json!({ field: to_json(&authority) }));
            }
        }
        Ok(())
    }

    async fn show(&self, kind: Kind) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let call = admin.list_authorities(asked(kind, String::new()));
        let all = self.connection.answer(call).await?.authorities;
        let of = |state: State| all.iter().rev().filter(move |one| one.state() == state);
        match self.output {
            Output::Json => {
                let mut told = Map::new();
                for (name, state) in STANDINGS {
                    if let Some(newest) = of(state).next() {
                        told.insert(name.to_lowercase(), shown_json(newest));
                    }
                }
                let older: Vec<_> = of(State::Old).skip(1).map(shown_json).collect();
                if !older.is_empty() {
                    told.insert("older".to_owned(), older.into());
                }
                anstream::println!("{:#}", Value::Object(told));
            }
            Output::Pretty => {
                for (index, (name, state)) in STANDINGS.into_iter().enumerate() {
                    if index > 0 {
                        anstream::println!();
                    }
                    anstream::println!("{name} {} authority:", noun(kind));
                    if of(state).next().is_none() {
                        let name = name.to_lowercase();
                        anstream::println!("  No {name} {} authority found", noun(kind));
                    }
                    for authority in of(state) {
                        print(kind, authority)?;
                        if authority.tainted {
                            anstream::println!("  Tainted: what it signed is being replaced");
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::X509 => "X.509",
        Kind::Jwt => "JWT",
    }
}

fn print(kind: Kind, authority: &wire::Authority) -> anyhow::Result<()> {
    let end = Timestamp::from_second(authority.expires_at).context("the time of its end")?;
    anstream::println!("  Authority ID: {}", authority.id);
    anstream::println!("  Expires at: {}", as_go(end));
    match (kind, authority.upstream_id.as_str()) {
        (Kind::Jwt, _) => {}
        (Kind::X509, "") => anstream::println!("  Upstream authority ID: No upstream authority"),
        (Kind::X509, id) => anstream::println!("  Upstream authority Subject Key ID: {id}"),
    }
    Ok(())
}

/// As protobuf's JSON has it, where whole numbers of 64 bits are texts.
fn to_json(authority: &wire::Authority) -> Value {
    json!({
        "authority_id": authority.id, "expires_at": authority.expires_at.to_string(),
        "upstream_authority_subject_key_id": authority.upstream_id,
    })
}

/// The same, with what only we say.
fn shown_json(authority: &wire::Authority) -> Value {
    let mut told = to_json(authority);
    if authority.tainted {
        told["tainted"] = json!(true);
    }
    told
}
