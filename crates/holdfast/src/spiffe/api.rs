//! `api`: the Workload API from the command line, with the words and flags of `spire-agent api`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use holdfast_keys::x509::{Certificate, encode_pem};
use holdfast_spiffe::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_spiffe::proto::workload::{
    JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest, X509svidResponse,
};
use holdfast_spiffe::remote::unix_channel;
use holdfast_types::Timestamp;
use prost_types::value::Kind;
use serde_json::{Map, Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::agent::default_socket;
use super::{Output, duration};

/// Ask the agent what a workload would: as this very process.
#[derive(Debug, Subcommand)]
pub(super) enum Api {
    /// Fetch SVIDs.
    #[command(subcommand)]
    Fetch(Fetch),
    /// Check SVIDs.
    #[command(subcommand)]
    Validate(Validate),
    Watch(Watch),
}

#[derive(Debug, Subcommand)]
pub(super) enum Fetch {
    X509(FetchX509),
    Jwt(FetchJwt),
}

#[derive(Debug, Subcommand)]
pub(super) enum Validate {
    Jwt(ValidateJwt),
}

impl Api {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Fetch(Fetch::X509(command)) => command.run().await,
            Self::Fetch(Fetch::Jwt(command)) => command.run().await,
            Self::Validate(Validate::Jwt(command)) => command.run().await,
            Self::Watch(command) => command.run().await,
        }
    }
}

/// The agent to ask.
#[derive(Debug, Args)]
struct Agent {
    /// The agent's socket [default: that of `holdfast spiffe agent`]
    #[arg(long = "socketPath", value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// The address of the agent, where no path is given.
    #[arg(long, hide = true, env = "SPIFFE_ENDPOINT_SOCKET")]
    endpoint: Option<String>,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

impl Agent {
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.socket_path {
            return Ok(path.clone());
        }
        let Some(endpoint) = &self.endpoint else { return Ok(default_socket()) };
        let path = endpoint.strip_prefix("unix:").context("the agent is not at a unix: address")?;
        Ok(path.strip_prefix("//").unwrap_or(path).into())
    }

    fn client(&self) -> anyhow::Result<SpiffeWorkloadApiClient<Channel>> {
        Ok(SpiffeWorkloadApiClient::new(unix_channel(&self.path()?)))
    }

    /// The answer to a call, or why there is none.
    async fn answer<T>(&self, call: impl Future<Output = Result<T, Status>>) -> anyhow::Result<T> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer.map_err(|_| anyhow!("the agent did not answer in time"))?.map_err(|status| {
            match std::error::Error::source(&status) {
                Some(_) if status.code() != Code::PermissionDenied => {
                    let path = self.path().unwrap_or_default();
                    anyhow!("no agent answers at {}", path.display())
                }
                _ => anyhow!("{}", status.message().to_owned()),
            }
        })
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// Fetch the X.509-SVIDs of this process, and print what they say.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe api fetch x509 -write /tmp/svids")]
pub(super) struct FetchX509 {
    #[command(flatten)]
    agent: Agent,
    /// Write SVIDs, keys and bundles to this directory: svid.0.pem, svid.0.key, bundle.0.pem.
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl FetchX509 {
    async fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut client = self.agent.client()?;
        let fetch = async {
            let mut stream = client.fetch_x509svid(request(X509svidRequest {})).await?.into_inner();
            stream.message().await
        };
        let answer = self.agent.answer(fetch).await?.context("the agent ended the stream")?;
        match (self.silent, self.output) {
            (true, _) => {}
            (false, Output::Json) => anstream::println!("{:#}", x509_json(&answer)),
            (false, Output::Pretty) => print_x509(&answer, started.elapsed())?,
        }
        let Some(directory) = &self.write else { return Ok(()) };
        for (index, svid) in answer.svids.iter().enumerate() {
            let chain = pem("CERTIFICATE", &svid.x509_svid)?;
            let key = encode_pem("PRIVATE KEY", &svid.x509_svid_key);
            let bundle = pem("CERTIFICATE", &svid.bundle)?;
            for (what, name, text, mode) in [
                ("SVID", format!("svid.{index}.pem"), chain.as_str(), 0o644),
                ("key", format!("svid.{index}.key"), key.as_str(), 0o600),
                ("bundle", format!("bundle.{index}.pem"), bundle.as_str(), 0o644),
            ] {
                let path = directory.join(name);
                if !self.silent {
                    anstream::println!("Writing {what} #{index} to file {}.", path.display());
                }
                write(&path, text, mode)?;
            }
        }
        Ok(())
    }
}

/// Writes a file of a mode that it has from the start.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let failed = || format!("write {}", path.display());
    // A file that is there keeps its mode when it is opened.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.with_context(failed)?.write_all(text.as_bytes()).with_context(failed)
}

/// The certificates of a list in DER.
fn certificates(der: &[u8]) -> anyhow::Result<Vec<Certificate>> {
    let mut reader = holdfast_keys::x509::der::Reader::new(der);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let (_, _, whole) = reader.any()?;
        found.push(Certificate::from_der(whole)?);
    }
    Ok(found)
}

fn pem(label: &str, der: &[u8]) -> anyhow::Result<String> {
    let mut reader = holdfast_keys::x509::der::Reader::new(der);
    let mut text = String::new();
    while !reader.is_empty() {
        let (_, _, whole) = reader.any()?;
        text.push_str(&encode_pem(label, whole));
    }
    Ok(text)
}

fn print_x509(answer: &X509svidResponse, took: Duration) -> anyhow::Result<()> {
    let plural = if answer.svids.len() == 1 { "svid" } else { "svids" };
    anstream::println!("Received {} {plural} after {took:?}", answer.svids.len());
    for svid in &answer.svids {
        anstream::println!("\nSPIFFE ID:\t\t{}", svid.spiffe_id);
        if !svid.hint.is_empty() {
            anstream::println!("Hint:\t\t\t{}", svid.hint);
        }
        let chain = certificates(&svid.x509_svid).context("read the SVID")?;
        for (index, certificate) in chain.iter().enumerate() {
            let name =
                if index == 0 { "SVID".to_owned() } else { format!("Intermediate #{index}") };
            print_validity(&name, certificate);
        }
        let authorities = certificates(&svid.bundle).context("read the bundle")?;
        for (index, authority) in authorities.iter().enumerate() {
            print_validity(&format!("CA #{}", index + 1), authority);
        }
    }
    for trust_domain in answer.federated_bundles.keys() {
        anstream::println!("\nFederated with:\t\t{trust_domain}");
    }
    anstream::println!();
    Ok(())
}

fn print_validity(name: &str, certificate: &Certificate) {
    anstream::println!("{name} Valid After:\t{}", as_go(certificate.not_before));
    anstream::println!("{name} Valid Until:\t{}", as_go(certificate.not_after));
}

/// As Go prints a time in UTC.
pub(super) fn as_go(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// The answer as `spire-agent` writes it: the message in protobuf's JSON, keys and all.
fn x509_json(answer: &X509svidResponse) -> Value {
    let svids = answer.svids.iter().map(|svid| {
        json!({
            "spiffe_id": svid.spiffe_id, "x509_svid": STANDARD.encode(&svid.x509_svid),
            "x509_svid_key": STANDARD.encode(&svid.x509_svid_key),
            "bundle": STANDARD.encode(&svid.bundle), "hint": svid.hint,
        })
    });
    let federated = answer.federated_bundles.iter();
    let federated = federated.map(|(name, der)| (name.clone(), json!(STANDARD.encode(der))));
    json!({
        "svids": svids.collect::<Vec<_>>(), "crl": [],
        "federated_bundles": federated.collect::<Map<_, _>>(),
    })
}

/// Fetch JWT-SVIDs of this process, and the keys that verify them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe api fetch jwt -audience vault")]
pub(super) struct FetchJwt {
    #[command(flatten)]
    agent: Agent,
    /// Whom the token is for; several with commas.
    #[arg(long, value_name = "AUDIENCE", value_delimiter = ',', required = true)]
    audience: Vec<String>,
    /// Which identity [default: all of this process's]
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl FetchJwt {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.agent.client()?;
        let spiffe_id = self.spiffe_id.unwrap_or_default();
        let message = JwtsvidRequest { audience: self.audience, spiffe_id };
        let answer = self.agent.answer(client.fetch_jwtsvid(request(message))).await?.into_inner();
        let fetch = async {
            let call = client.fetch_jwt_bundles(request(JwtBundlesRequest {}));
            call.await?.into_inner().message().await
        };
        let bundles = self.agent.answer(fetch).await?.context("the agent ended the stream")?;
        if self.output == Output::Json {
            let svids = answer.svids.iter().map(
                |svid| json!({ "spiffe_id": svid.spiffe_id, "svid": svid.svid, "hint": svid.hint }),
            );
            let keys = bundles.bundles.iter();
            let keys = keys.map(|(name, jwks)| (name.clone(), json!(STANDARD.encode(jwks))));
            let all = json!([
                { "svids": svids.collect::<Vec<_>>() },
                { "bundles": keys.collect::<Map<_, _>>() },
            ]);
            anstream::println!("{all:#}");
            return Ok(());
        }
        for svid in &answer.svids {
            anstream::println!("token({}):\n\t{}", svid.spiffe_id, svid.svid);
        }
        for (name, jwks) in &bundles.bundles {
            anstream::println!("bundle({name}):\n\t{}", String::from_utf8_lossy(jwks));
        }
        Ok(())
    }
}

/// Check a JWT-SVID, by the bundles that this process may use.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe api validate jwt -audience vault -svid /dev/stdin"
)]
pub(super) struct ValidateJwt {
    #[command(flatten)]
    agent: Agent,
    /// Whom the token must be for.
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// The token, or the file that holds it.
    #[arg(long, value_name = "TOKEN|FILE")]
    svid: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl ValidateJwt {
    async fn run(self) -> anyhow::Result<()> {
        // A token has no slash, and a path of a file that holds one has.
        let svid = match self.svid.contains('/') {
            true => {
                fs::read_to_string(&self.svid).with_context(|| format!("read {}", self.svid))?
            }
            false => self.svid.clone(),
        };
        let svid = svid.trim().to_owned();
        let mut client = self.agent.client()?;
        let message = ValidateJwtsvidRequest { audience: self.audience, svid: svid.clone() };
        let call = client.validate_jwtsvid(request(message));
        let answer = self.agent.answer(call).await?.into_inner();
        let fields = answer.claims.unwrap_or_default().fields;
        let claims: Map<_, _> =
            fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
        match self.output {
            Output::Json => {
                let all = json!({ "spiffe_id": answer.spiffe_id, "claims": claims });
                anstream::println!("{all:#}");
            }
            Output::Pretty => {
                anstream::println!("SVID is valid.");
                anstream::println!("SPIFFE ID : {}", answer.spiffe_id);
                anstream::println!(
                    "Claims : {}",
                    own_claims(&svid).unwrap_or(Value::Object(claims))
                );
            }
        }
        Ok(())
    }
}

/// The claims as the token has them, whole numbers and all.
fn own_claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn plain(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(plain).collect(),
        Some(Kind::StructValue(fields)) => {
            fields.fields.into_iter().map(|(name, value)| (name, plain(value))).collect()
        }
    }
}

/// Watch the X.509-SVIDs of this process, and print each that comes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe api watch")]
pub(super) struct Watch {
    #[command(flatten)]
    agent: Agent,
}

impl Watch {
    async fn run(self) -> anyhow::Result<()> {
        let mut client = self.agent.client()?;
        let call = client.fetch_x509svid(request(X509svidRequest {}));
        let mut stream = self.agent.answer(call).await?.into_inner();
        loop {
            let started = Instant::now();
            match stream.message().await {
                Ok(Some(answer)) => print_x509(&answer, started.elapsed())?,
                Ok(None) => bail!("the agent ended the stream"),
                Err(status) => bail!("{}", status.message().to_owned()),
            }
        }
    }
}
