//! One fetch of a bundle.

use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, redirect};

use super::{Profile, Relationship};
use crate::Bundle;
use crate::bundle::BundleError;
use crate::tls::knowing;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const FETCH_LIMIT: Duration = Duration::from_secs(20);
/// No bundle is longer, in bytes.
const LARGEST: usize = 1 << 20;

/// Whom endpoints with the profile `https_web` have to be certified by.
#[derive(Debug, Clone, Default)]
pub enum WebRoots {
    /// Those whom the system trusts.
    #[default]
    System,
    /// These, DER, and no others.
    These(Vec<Vec<u8>>),
}

/// Why an endpoint gave no bundle.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// An endpoint that is known by its SVID cannot be verified without a first bundle.
    #[error("there is no bundle yet to verify the endpoint by: set one first")]
    NoBundle,
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// It is not there, or is somebody else.
    #[error("ask the endpoint")]
    Ask(#[source] reqwest::Error),
    /// Not 200. Redirects are not followed: the URL is what was agreed on.
    #[error("the endpoint answered {0}")]
    Status(StatusCode),
    /// More than any trust domain has.
    #[error("the endpoint's answer is longer than {LARGEST} bytes")]
    TooLong,
    /// Not a bundle.
    #[error("read the endpoint's answer")]
    Bundle(#[from] BundleError),
}

/// Fetches the bundle. `known` verifies the endpoint where it has an SVID.
pub(super) async fn fetch(
    one: &Relationship,
    known: Option<&Bundle>,
    web_roots: &WebRoots,
) -> Result<Bundle, FetchError> {
    let mut builder = Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(FETCH_LIMIT);
    builder = match (&one.profile, web_roots) {
        (Profile::HttpsSpiffe { endpoint_spiffe_id }, _) => {
            let roots = known.map(|bundle| &bundle.x509_authorities[..]).unwrap_or_default();
            let tls = knowing(roots, endpoint_spiffe_id.as_str()).map_err(FetchError::Tls)?;
            builder.tls_backend_preconfigured(tls.with_no_client_auth())
        }
        (Profile::HttpsWeb, WebRoots::System) => builder,
        (Profile::HttpsWeb, WebRoots::These(roots)) => {
            let roots = roots.iter().map(|der| Certificate::from_der(der));
            let roots = roots.collect::<Result<Vec<_>, _>>().map_err(FetchError::Ask)?;
            builder.tls_certs_only(roots)
        }
    };
    let client = builder.build().map_err(FetchError::Ask)?;
    let asked = client.get(&one.endpoint_url).send().await;
    let mut answer = asked.map_err(FetchError::Ask)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(FetchError::Ask)? {
        if text.len() + piece.len() > LARGEST {
            return Err(FetchError::TooLong);
        }
        text.extend_from_slice(&piece);
    }
    Ok(Bundle::from_json(one.trust_domain.clone(), &text)?)
}
