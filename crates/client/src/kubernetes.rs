//! The API of a Kubernetes cluster, as far as it says whose a token is: reviews of tokens, and what
//! they lead to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use holdfast_types::{Chain, SecretString};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::fetch::{FetchError, Fetcher};

/// Where a pod finds its own token (`token`) and its cluster's authorities (`ca.crt`).
pub const POD_FILES: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// No token of a service account is longer, in bytes: a projected one has about a thousand.
pub const LARGEST_TOKEN: usize = 16 << 10;
/// No more of what a cluster says about a token it could not review is told on, in characters.
const LONGEST_REASON: usize = 200;

/// The token in a file, without white space at its ends.
///
/// # Errors
/// There is none, or it is empty or longer than [`LARGEST_TOKEN`].
pub fn token_in(path: &Path) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::with_capacity(LARGEST_TOKEN + 1));
    File::open(path)?.take(LARGEST_TOKEN as u64 + 1).read_to_string(&mut text)?;
    let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    match text.trim() {
        _ if text.len() > LARGEST_TOKEN => wrong("too long for a token"),
        "" => wrong("it holds no token"),
        token => Ok(SecretString::from(token)),
    }
}

/// Clients by the authorities that they trust: the last one is kept.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Option<(String, Fetcher)>>);

impl Clients {
    /// A client that trusts `authorities`, PEM. None: that holds no certificate.
    pub async fn trusting(&self, authorities: &str) -> Option<Fetcher> {
        let mut last = self.0.lock().await;
        if let Some((known, fetcher)) = &*last
            && known == authorities
        {
            return Some(fetcher.clone());
        }
        // Without an authority, the system's would be trusted.
        let fetcher = Fetcher::new(Some(authorities).filter(|pem| !pem.is_empty())?)?;
        *last = Some((authorities.to_owned(), fetcher.clone()));
        Some(fetcher)
    }
}

/// A cluster's API, and as whom it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Api<'a> {
    /// Over what.
    pub fetcher: &'a Fetcher,
    /// Such as `https://10.0.0.1:6443`, without a slash at its end.
    pub url: &'a str,
    /// The token of who asks.
    pub caller: &'a SecretString,
}

/// Why the cluster does not confirm a token.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no whole answer.
    #[error("ask the cluster: {}", Chain(.0))]
    Fetch(#[from] FetchError),
    /// The caller's own token, which may be the one that is reviewed.
    #[error("the cluster does not let the reviewer ask, or the token's account is gone (401)")]
    Unauthorized,
    /// Such as 403: the caller may not ask for reviews.
    #[error("the cluster refused to review the token: status {0}")]
    Status(u16),
    /// It is no review.
    #[error("the cluster's answer cannot be read")]
    Form,
    /// In the cluster's words, without the token.
    #[error("the cluster could not review the token: {0}")]
    Failed(String),
    /// It is nobody's, or has ended.
    #[error("the cluster says that the token is not valid")]
    NotAuthenticated,
    /// It is good elsewhere.
    #[error("the cluster takes the token for none of the audiences {0:?}")]
    Audience(Vec<String>),
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

/// Whose a token is, in the cluster's words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Such as `system:serviceaccount:apps:backend`.
    pub username: String,
    /// The account's own.
    pub uid: String,
    /// What else the token says, such as `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Namespace and name of the service account that this is. None: it is none.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let account = self.username.strip_prefix("system:serviceaccount:")?;
        let (namespace, name) = account.split_once(':')?;
        (is_label(namespace) && is_subdomain(name)).then_some((namespace, name))
    }
}

/// What is asked of objects, whatever their kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Told from others of its name, earlier and later ones.
    pub uid: String,
    /// By key.
    pub labels: BTreeMap<String, String>,
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Who it is.
    pub metadata: Metadata,
    /// Where it is to run.
    pub spec: PodSpec,
    /// Where it does.
    pub status: PodStatus,
}

/// What is wanted of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Empty until it has one.
    pub node_name: String,
    /// As whom it runs.
    pub service_account_name: String,
}

/// What its kubelet says of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// The node's address.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

/// An object of which nothing but that is asked: a node, a namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    /// Who it is.
    pub metadata: Metadata,
}

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is none, or no whole answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is no object of this kind.
    #[error("the cluster's answer cannot be read")]
    Form,
    /// It cannot stand in a path.
    #[error("{0:?} is no name of an object")]
    Name(String),
}

impl ObjectError {
    /// Whether the cluster said that there is none.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Fetch(FetchError::Status { status: StatusCode::NOT_FOUND, .. }))
    }
}

impl Api<'_> {
    /// Has the cluster confirm that `token` is good for one of `audiences`; for the cluster itself
    /// where there are none.
    ///
    /// # Errors
    /// See [`ReviewError`].
    ///
    /// Source: Kubernetes API reference, `TokenReview` of authentication.k8s.io/v1.
    pub async fn review(
        self,
        token: &SecretString,
        audiences: &[String],
    ) -> Result<User, ReviewError> {
        let mut spec = json!({ "token": token.expose() });
        if !audiences.is_empty() {
            spec["audiences"] = json!(audiences);
        }
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec,
        });
        let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", self.url);
        let (status, answer) = self.fetcher.post_json(&url, self.caller, &body).await?;
        match status.as_u16() {
            200..=206 => {}
            401 => return Err(ReviewError::Unauthorized),
            other => return Err(ReviewError::Status(other)),
        }
        let review: Review = serde_json::from_slice(&answer).map_err(|_| ReviewError::Form)?;
        let ReviewStatus { authenticated, audiences: taken, error, user } = review.status;
        if !error.is_empty() {
            // Whoever wrote that had the token before them.
            let error = error.replace(token.expose(), "***");
            return Err(ReviewError::Failed(error.chars().take(LONGEST_REASON).collect()));
        }
        if !authenticated {
            return Err(ReviewError::NotAuthenticated);
        }
        // A cluster that knows nothing of audiences names none.
        if !audiences.is_empty() && !audiences.iter().any(|audience| taken.contains(audience)) {
            return Err(ReviewError::Audience(audiences.to_owned()));
        }
        Ok(user)
    }

    /// A pod by its name.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn pod(self, namespace: &str, name: &str) -> Result<Pod, ObjectError> {
        let namespace = checked(namespace, is_label)?;
        let name = checked(name, is_subdomain)?;
        self.object(&format!("namespaces/{namespace}/pods/{name}")).await
    }

    /// A node by its name.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn node(self, name: &str) -> Result<Object, ObjectError> {
        let name = checked(name, is_subdomain)?;
        self.object(&format!("nodes/{name}")).await
    }

    /// A namespace by its name.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn namespace(self, name: &str) -> Result<Object, ObjectError> {
        let name = checked(name, is_label)?;
        self.object(&format!("namespaces/{name}")).await
    }

    async fn object<T: DeserializeOwned>(self, path: &str) -> Result<T, ObjectError> {
        let url = format!("{}/api/v1/{path}", self.url);
        let answer = self.fetcher.get_as(&url, self.caller).await?;
        serde_json::from_slice(&answer).map_err(|_| ObjectError::Form)
    }
}

/// What becomes part of a path has no slash, no dots alone and no question mark.
fn checked(name: &str, is_one: fn(&str) -> bool) -> Result<&str, ObjectError> {
    match is_one(name) {
        true => Ok(name),
        false => Err(ObjectError::Name(name.chars().take(LONGEST_REASON).collect())),
    }
}

/// Whether this can be a namespace's name (RFC 1123, a label).
pub fn is_label(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(known)
}

/// Whether this can be the name of a service account, a pod or a node (RFC 1123, a subdomain).
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_service_account_by_all_of_its_name() {
        for (username, want) in [
            ("system:serviceaccount:apps:backend", Some(("apps", "backend"))),
            ("system:serviceaccount:apps:back.end-1", Some(("apps", "back.end-1"))),
            ("system:serviceaccount:apps:a:b", None),
            ("system:serviceaccount::backend", None),
            ("system:serviceaccount:apps:", None),
            ("system:serviceaccount:apps", None),
            ("system:serviceaccount:../x:backend", None),
            ("system:serviceaccount:a.b:backend", None),
            // The words are the same, and it is somebody else's.
            ("oidc:serviceaccount:apps:backend", None),
            ("admin", None),
            ("", None),
        ] {
            let user = User { username: username.to_owned(), ..User::default() };
            assert_eq!(user.service_account(), want, "{username}");
        }
    }

    #[test]
    fn names_become_no_other_path() {
        for name in ["", "..", "a/b", "a?b", "a%2fb", "A", "a..b", &"a".repeat(254)] {
            assert!(checked(name, is_subdomain).is_err(), "{name}");
        }
        assert!(checked("node-1.internal", is_subdomain).is_ok());
        assert!(checked("a.b", is_label).is_err());
    }
}
