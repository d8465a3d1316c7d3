//! What is asked of the cluster: reviews of tokens, and labels of namespaces.

use std::collections::BTreeMap;

use holdfast_types::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::service_account::ServiceAccount;
use crate::fetch::{FetchError, Fetcher, chain};

/// HTTP clients by the authority that they trust: the last one is kept.
#[derive(Default)]
pub(super) struct Clients(Mutex<Option<(String, Fetcher)>>);

impl Clients {
    /// A client that trusts `authority`. None: that holds no certificate.
    pub(super) async fn trusting(&self, authority: &str) -> Option<Fetcher> {
        let mut last = self.0.lock().await;
        if let Some((known, fetcher)) = &*last
            && known == authority
        {
            return Some(fetcher.clone());
        }
        // Without an authority, the system's would be trusted.
        let fetcher = Fetcher::new(Some(authority).filter(|pem| !pem.is_empty())?)?;
        *last = Some((authority.to_owned(), fetcher.clone()));
        Some(fetcher)
    }
}

/// Why the cluster does not confirm a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("ask the cluster: {}", chain(.0))]
    Fetch(#[from] FetchError),
    #[error("the cluster does not let the reviewer ask, or the token's account is gone (401)")]
    Unauthorized,
    #[error("the cluster refused to review the token: status {0}")]
    Status(u16),
    #[error("the cluster's answer cannot be read")]
    Form,
    #[error("the cluster could not review the token: {0}")]
    Failed(String),
    #[error("the cluster says that the token is not valid")]
    NotAuthenticated,
    #[error("the cluster takes the token for none of the audiences {0:?}")]
    Audience(Vec<String>),
    #[error("the cluster says that the token is of {0:?}, not of this service account")]
    Other(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Review {
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    audiences: Vec<String>,
    error: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
}

/// Has the cluster confirm that `token` is good, and of `account`. `reviewer` asks; else the token
/// itself.
pub(super) async fn review(
    fetcher: &Fetcher,
    url: &str,
    reviewer: Option<&SecretString>,
    token: &SecretString,
    account: &ServiceAccount,
    audience: &str,
) -> Result<(), ReviewError> {
    let audiences = match audience {
        "" => account.audiences.clone(),
        audience => vec![audience.to_owned()],
    };
    let mut spec = json!({ "token": token.expose() });
    if !audiences.is_empty() {
        spec["audiences"] = json!(audiences);
    }
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec,
    });
    let url = format!("{url}/apis/authentication.k8s.io/v1/tokenreviews");
    let (status, answer) = fetcher.post_json(&url, reviewer.unwrap_or(token), &body).await?;
    match status.as_u16() {
        200..=206 => {}
        401 => return Err(ReviewError::Unauthorized),
        other => return Err(ReviewError::Status(other)),
    }
    let review: Review = serde_json::from_slice(&answer).map_err(|_| ReviewError::Form)?;
    let ReviewStatus { authenticated, audiences: taken, error, user } = review.status;
    if !error.is_empty() {
        return Err(ReviewError::Failed(error));
    }
    if !authenticated {
        return Err(ReviewError::NotAuthenticated);
    }
    if !audiences.is_empty() && !audiences.iter().any(|audience| taken.contains(audience)) {
        return Err(ReviewError::Audience(audiences));
    }
    let expected = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
    match user.username == expected && user.uid == account.uid {
        true => Ok(()),
        false => Err(ReviewError::Other(user.username)),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: BTreeMap<String, String>,
}

/// The labels of a namespace, whose name is a label of RFC 1123.
pub(super) async fn namespace_labels(
    fetcher: &Fetcher,
    url: &str,
    reviewer: &SecretString,
    name: &str,
) -> Result<BTreeMap<String, String>, String> {
    let answer = fetcher.get_as(&format!("{url}/api/v1/namespaces/{name}"), reviewer).await;
    let answer = answer.map_err(|error| chain(&error))?;
    let namespace: Namespace =
        serde_json::from_slice(&answer).map_err(|_| "the cluster's answer cannot be read")?;
    Ok(namespace.metadata.labels)
}
