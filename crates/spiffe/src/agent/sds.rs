//! Envoy's Secret Discovery Service, version 3: an Envoy gets its certificates from the agent itself,
//! with the names that SPIRE's documentation has.
//!
//! `default` is the caller's default SVID, and its SPIFFE ID names any of them; `ROOTCA` is its own
//! trust domain's bundle, and a trust domain's ID names any of those; `ALL` is a validator that knows
//! which bundle is whose, for federation.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use holdfast_keys::x509::encode_pem;
use prost::Message as _;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::core::{Core, View};
use super::follow::{Answers, Kind, follow};
use super::svids::Svid;
use super::workload::caller_of;
use crate::Bundle;
use crate::proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::proto::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryService;
use crate::proto::envoy::tls::{
    CertificateValidationContext, DataSource, Secret, SpiffeCertValidatorConfig, TlsCertificate,
    TypedExtensionConfig, secret::Type, spiffe_cert_validator_config::TrustDomain,
};

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_CONFIG: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
const DEFAULT: &str = "default";
const ROOT: &str = "ROOTCA";
const ALL: &str = "ALL";
/// The most names that one subscription has.
const NAMES: usize = 1024;

/// The service.
pub(super) struct Secrets {
    core: Arc<Core>,
}

impl Secrets {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn views<T>(&self, request: &Request<T>) -> Result<Answers<View>, Status> {
        let kind = Kind {
            with_svids: true,
            answer: |view: &View| Ok(view.clone()),
            is_same: View::is_same_x509,
        };
        follow(&self.core, &caller_of(request)?, kind)
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("use StreamSecrets"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let views = self.views(&request)?;
        let (sender, receiver) = mpsc::channel(1);
        let requests = request.into_inner();
        tokio::spawn(async move {
            let failed = sender.clone();
            tokio::select! {
                () = failed.closed() => {}
                Err(status) = converse(requests, views, sender) => {
                    let _ = failed.send(Err(status)).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let mut views = self.views(&request)?;
        let view = views.next().await.ok_or_else(|| Status::unavailable("the agent ends"))??;
        let names = names(request.get_ref())?;
        Ok(Response::new(respond(&view, &names, 1)?))
    }
}

/// Answers a subscription: when its names change, and when what they name does.
async fn converse(
    mut requests: Streaming<DiscoveryRequest>,
    mut views: Answers<View>,
    sender: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) -> Result<(), Status> {
    let mut view: Option<View> = None;
    let mut wanted: Option<BTreeSet<String>> = None;
    let mut sent = 0_u64;
    let mut last: Option<Digest> = None;
    loop {
        let (is_due, is_asked) = tokio::select! {
            request = requests.message() => {
                let Some(request) = request? else { return Ok(()) };
                if let Some(error) = &request.error_detail {
                    tracing::warn!(error = error.message, "an Envoy refuses its secrets");
                }
                // One that answers an older response knows nothing of the last one.
                let is_current = sent == 0 || request.response_nonce == sent.to_string();
                let names = names(&request)?;
                let is_new = is_current && wanted.as_ref() != Some(&names);
                if is_new {
                    wanted = Some(names);
                }
                (is_new, true)
            }
            next = views.next() => {
                view = Some(next.ok_or_else(|| Status::unavailable("the agent ends"))??);
                (true, false)
            }
        };
        if let (true, Some(view), Some(wanted)) = (is_due, &view, &wanted) {
            let response = respond(view, wanted, sent + 1)?;
            let digest = digest(&response.resources);
            // Another's certificate was replaced: Envoy would make its TLS contexts anew for nothing.
            if !is_asked && last.is_some_and(|last| last.as_ref() == digest.as_ref()) {
                continue;
            }
            last = Some(digest);
            sent += 1;
            if sender.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn names(request: &DiscoveryRequest) -> Result<BTreeSet<String>, Status> {
    if !request.type_url.is_empty() && request.type_url != SECRET {
        return Err(Status::invalid_argument(format!("this service has only {SECRET}")));
    }
    if request.resource_names.len() > NAMES {
        return Err(Status::invalid_argument("too many names"));
    }
    // An empty name asks for everything, as no name does.
    Ok(request.resource_names.iter().filter(|name| !name.is_empty()).cloned().collect())
}

/// What the names name; without names all there is.
fn respond(
    view: &View,
    names: &BTreeSet<String>,
    number: u64,
) -> Result<DiscoveryResponse, Status> {
    let mut missing = names.clone();
    let mut wants = |name: &str| names.is_empty() || missing.remove(name);
    let mut secrets = Vec::new();
    for svid in &view.svids {
        let id = svid.entry.spiffe_id.as_str();
        if wants(id) {
            secrets.push(certificate(id, svid));
        }
    }
    for bundle in bundles(view) {
        let id = bundle.trust_domain.id();
        if wants(id.as_str()) {
            secrets.push(authorities(id.as_str(), bundle));
        }
    }
    // What has a name of its own already does not come twice.
    let mut wants = |name: &str| missing.remove(name);
    if let Some(first) = view.svids.first().filter(|_| wants(DEFAULT)) {
        secrets.push(certificate(DEFAULT, first));
    }
    if wants(ROOT) {
        secrets.push(authorities(ROOT, &view.bundle));
    }
    if wants(ALL) {
        secrets.push(validator(view));
    }
    if !missing.is_empty() {
        let text = format!("workload is not authorized for the requested identities {missing:?}");
        return Err(Status::invalid_argument(text));
    }
    let resources = secrets
        .iter()
        .map(|secret| Any { type_url: SECRET.to_owned(), value: secret.encode_to_vec() });
    Ok(DiscoveryResponse {
        version_info: number.to_string(),
        resources: resources.collect(),
        type_url: SECRET.to_owned(),
        nonce: number.to_string(),
    })
}

/// What tells two answers apart, without keeping keys.
fn digest(resources: &[Any]) -> Digest {
    let mut context = Context::new(&SHA256);
    for resource in resources {
        context.update(&(resource.value.len() as u64).to_be_bytes());
        context.update(&resource.value);
    }
    context.finish()
}

fn bundles(view: &View) -> impl Iterator<Item = &Arc<Bundle>> {
    std::iter::once(&view.bundle).chain(view.federated.values())
}

fn certificate(name: &str, svid: &Svid) -> Secret {
    let chain: String = svid.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    let certificate = TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(pem("PRIVATE KEY", &svid.key)),
    };
    Secret { name: name.to_owned(), r#type: Some(Type::TlsCertificate(certificate)) }
}

fn authorities(name: &str, bundle: &Bundle) -> Secret {
    let context =
        CertificateValidationContext { trusted_ca: pems(bundle), custom_validator_config: None };
    Secret { name: name.to_owned(), r#type: Some(Type::ValidationContext(context)) }
}

/// Envoy's own validator of SVIDs, which takes of each trust domain only what its bundle verifies.
fn validator(view: &View) -> Secret {
    let trust_domains = bundles(view).map(|bundle| TrustDomain {
        name: bundle.trust_domain.to_string(),
        trust_bundle: pems(bundle),
    });
    let config = SpiffeCertValidatorConfig { trust_domains: trust_domains.collect() };
    let config = TypedExtensionConfig {
        name: VALIDATOR.to_owned(),
        typed_config: Some(Any {
            type_url: VALIDATOR_CONFIG.to_owned(),
            value: config.encode_to_vec(),
        }),
    };
    let context =
        CertificateValidationContext { trusted_ca: None, custom_validator_config: Some(config) };
    Secret { name: ALL.to_owned(), r#type: Some(Type::ValidationContext(context)) }
}

fn pems(bundle: &Bundle) -> Option<DataSource> {
    inline(bundle.x509_authorities.iter().map(|der| pem("CERTIFICATE", der)).collect())
}

fn pem(label: &str, der: &[u8]) -> String {
    encode_pem(label, der).to_string()
}

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource { inline_bytes: text.into_bytes() })
}
