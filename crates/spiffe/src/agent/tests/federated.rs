//! Bundles of other trust domains: for workloads whose entries federate with them, and nobody else.

use std::collections::BTreeMap;

use holdfast_keys::{Algorithm, SigningKey};
use holdfast_testkit::Ca;
use holdfast_types::TrustDomain;
use prost_types::Any;
use serde_json::Value;

use super::*;
use crate::Bundle;
use crate::proto::envoy::service::discovery::v3::DiscoveryRequest;
use crate::proto::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use crate::proto::envoy::tls::{Secret, SpiffeCertValidatorConfig, secret::Type};

/// A trust domain with an authority of each kind.
fn domain(name: &str) -> Bundle {
    let mut bundle = Bundle::empty(TrustDomain::parse(name).unwrap());
    bundle.x509_authorities = vec![Ca::new(name).der().to_vec()];
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let Value::Object(mut key) = key.public_jwk(name) else { panic!() };
    key.remove("use");
    bundle.jwt_authorities = vec![key];
    bundle
}

/// What comes as soon as it holds another trust domain's bundle.
async fn with_other<T: std::fmt::Debug>(
    stream: &mut Streaming<T>,
    bundles: fn(&T) -> &BTreeMap<String, Vec<u8>>,
) -> T {
    let told = async {
        loop {
            let told = stream.message().await.unwrap().unwrap();
            if bundles(&told).contains_key("spiffe://other.test") {
                return told;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("the bundle is told")
}

#[tokio::test]
async fn all_streams_hear_of_a_bundle_that_is_federated_with() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut client = world.client().await;
    let mut svids = world.x509().await.unwrap();
    assert!(svids.message().await.unwrap().unwrap().federated_bundles.is_empty());
    let x509 = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await;
    let mut x509 = x509.unwrap().into_inner();
    assert_eq!(x509.message().await.unwrap().unwrap().bundles.len(), 1);
    let jwt = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await;
    let mut jwt = jwt.unwrap().into_inner();
    assert_eq!(jwt.message().await.unwrap().unwrap().bundles.len(), 1);

    // One that the server knows, and that the workload's entry does not federate with.
    world.server.know(domain("unrelated.test"));
    let other = domain("other.test");
    world.server.federate(other.clone());
    let told = with_other(&mut svids, |told| &told.federated_bundles).await;
    assert_eq!(told.federated_bundles.len(), 1);
    assert_eq!(told.federated_bundles["spiffe://other.test"], other.x509_authorities[0]);
    let told = with_other(&mut x509, |told| &told.bundles).await;
    assert_eq!(
        told.bundles.keys().collect::<Vec<_>>(),
        ["spiffe://example.org", "spiffe://other.test"]
    );
    assert_eq!(told.bundles["spiffe://other.test"], other.x509_authorities[0]);
    let told = with_other(&mut jwt, |told| &told.bundles).await;
    let keys: Value = serde_json::from_slice(&told.bundles["spiffe://other.test"]).unwrap();
    assert_eq!(keys["keys"][0]["kid"], "other.test");
    assert_eq!(told.bundles.len(), 2);
}

#[tokio::test]
async fn envoy_gets_them_by_name_and_in_its_validator() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    world.server.know(domain("unrelated.test"));
    let other = domain("other.test");
    world.server.federate(other.clone());
    let mut client = world.client().await;
    let x509 = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await;
    with_other(&mut x509.unwrap().into_inner(), |told| &told.bundles).await;

    let mut envoy = SecretDiscoveryServiceClient::new(connect(&world.socket()).await);
    let ask = |names: &[&str]| DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..DiscoveryRequest::default()
    };
    let answer = envoy.fetch_secrets(ask(&["spiffe://other.test", "ROOTCA", "ALL"])).await;
    let secrets = answer.unwrap().into_inner().resources;
    let secret = |any: &Any| <Secret as prost::Message>::decode(&*any.value).unwrap();
    let secrets: Vec<_> = secrets.iter().map(secret).collect();
    let Some(Type::ValidationContext(context)) = &secrets[0].r#type else { panic!() };
    let pem = context.trusted_ca.as_ref().unwrap().inline_bytes.clone();
    let pem = holdfast_keys::x509::Certificate::from_pem(&String::from_utf8(pem).unwrap());
    assert_eq!(pem.unwrap().der, other.x509_authorities[0]);
    let Some(Type::ValidationContext(all)) = &secrets[2].r#type else { panic!() };
    let config = all.custom_validator_config.as_ref().unwrap().typed_config.as_ref().unwrap();
    let config = <SpiffeCertValidatorConfig as prost::Message>::decode(&*config.value).unwrap();
    let names: Vec<_> = config.trust_domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["example.org", "other.test"]);
    let status = envoy.fetch_secrets(ask(&["spiffe://unrelated.test"])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
