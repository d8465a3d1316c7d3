//! Makes the requests that the core asks for.

use holdfast_client::vault::{Method, Response, VaultClient, VaultError};
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::core::{Done, Work};
use super::failure::Failure;
use super::{Lease, Mount, Request};

/// By which the server tells operators more about a refusal.
const EXPLAIN: &str = "x-holdfast-explain";

/// Does `work` with the token of `client`, once.
///
/// # Errors
/// Why it could not be done.
pub async fn perform(client: &VaultClient, work: &Work) -> Result<Done, Failure> {
    let request = match work {
        Work::Renew(lease, seconds) => return renew(client, lease, *seconds).await,
        Work::Ask(request) => request,
    };
    let (method, path, query, body) = match request {
        Request::Mount { path } => return mount(client, path).await,
        Request::Read { path, query } => {
            let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            (Method::GET, path, query.collect(), None)
        }
        Request::List { path } => (Method::GET, path, vec![("list", "true")], None),
        Request::Write { path, fields } => {
            (Method::PUT, path, Vec::new(), Some(Request::body(fields)))
        }
    };
    let response = send(client, method, path, body.as_ref(), &query).await?;
    // A deleted version is a 404 with data, which the answer itself tells.
    if response.status == 404 {
        let deleted = Answer::parse(response.body.expose()).ok().flatten();
        return if deleted.is_some() { Ok(Done::Answer(deleted)) } else { Ok(Done::Answer(None)) };
    }
    let response = success(response)?;
    if response.body.expose().is_empty() {
        return Ok(Done::Answer(None));
    }
    let answer = Answer::parse(response.body.expose()).map_err(|problem| {
        let request = path.clone();
        Failure::of(&VaultError::Malformed { request, problem }, None)
    })?;
    Ok(Done::Answer(answer))
}

/// Ends a lease.
///
/// # Errors
/// Why it could not be ended; a policy need not allow it.
pub async fn revoke(client: &VaultClient, lease: &str) -> Result<(), Failure> {
    let body = json!({ "lease_id": lease });
    let path = "sys/leases/revoke";
    success(send(client, Method::PUT, path, Some(&body), &[]).await?).map(drop)
}

async fn renew(client: &VaultClient, lease: &str, seconds: u64) -> Result<Done, Failure> {
    #[derive(Deserialize)]
    struct Renewed {
        lease_duration: u64,
        #[serde(default)]
        renewable: bool,
    }
    let body = json!({ "lease_id": lease, "increment": seconds });
    let response = send(client, Method::PUT, "sys/leases/renew", Some(&body), &[]).await?;
    let renewed: Renewed = success(response)?.parse().map_err(|error| Failure::of(&error, None))?;
    Ok(Done::Renewed(Lease {
        id: lease.to_owned(),
        seconds: renewed.lease_duration,
        renewable: renewed.renewable,
    }))
}

async fn mount(client: &VaultClient, path: &str) -> Result<Done, Failure> {
    #[derive(Deserialize)]
    struct Told {
        path: String,
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        options: Option<Options>,
    }
    #[derive(Deserialize)]
    struct Options {
        version: Option<String>,
    }
    #[derive(Deserialize)]
    struct Envelope {
        data: Told,
    }
    let asked = format!("sys/internal/ui/mounts/{path}");
    let response = success(send(client, Method::GET, &asked, None, &[]).await?)?;
    let told = response.parse::<Envelope>().map_err(|error| Failure::of(&error, None))?.data;
    let version = told.options.and_then(|options| options.version);
    let version = version.and_then(|version| version.parse().ok());
    let is_kv = matches!(told.kind.as_str(), "kv" | "generic");
    let mut path = told.path;
    if !path.ends_with('/') {
        path.push('/');
    }
    Ok(Done::Mount(Mount { path, kv: is_kv.then(|| version.unwrap_or(1)) }))
}

async fn send(
    client: &VaultClient,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
    query: &[(&str, &str)],
) -> Result<Response, Failure> {
    let sent = client.request(method, path, body, query).await;
    sent.map_err(|error| Failure::of(&error, None))
}

fn success(response: Response) -> Result<Response, Failure> {
    let explain = response.headers.get(EXPLAIN).and_then(|id| id.to_str().ok());
    let explain = explain.map(str::to_owned);
    response.success().map_err(|error| Failure::of(&error, explain))
}
