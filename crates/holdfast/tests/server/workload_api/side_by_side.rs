//! The Workload API of ours and of a real SPIRE, asked the same by the same client: what both say is
//! told in words that leave out keys, times and names that are made anew, and must be the same.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_spiffe::proto::health::HealthCheckRequest;
use holdfast_spiffe::proto::health::health_client::HealthClient;
use holdfast_spiffe::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_spiffe::proto::workload::{
    JwtBundlesRequest, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, X509BundlesRequest,
    X509svidRequest, X509svidResponse,
};
use holdfast_spiffe::remote::unix_channel;
use holdfast_testkit::{Ca, Registration, SpiffeEngine, Spire, TrustDomain, TrustDomainSettings};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use x509_parser::prelude::*;

use super::PATIENCE;

/// What is said otherwise, and why, in `docs/decisions/spiffe-agent.md`.
const DIFFERENCES: &[&str] = &[
    "health of no service",
    "extensions of the certificates",
    "a token for one twice",
    "a token for an empty audience",
    "a token for one and an empty audience",
];

#[tokio::test(flavor = "multi_thread")]
async fn ours_and_spires_workload_api_say_the_same() {
    let upstream = Ca::new("upstream");
    let settings = TrustDomainSettings {
        sync_interval: Duration::from_secs(1),
        ..TrustDomainSettings::default()
    };
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    let ours = TrustDomain::start_under(ours, settings.clone(), &upstream);
    let theirs = SpiffeEngine::Spire(Spire::install());
    let theirs = TrustDomain::start_under(theirs, settings, &upstream);
    let (ours, theirs) = tokio::join!(walk(&ours), walk(&theirs));
    compare(&ours, &theirs, DIFFERENCES);
}

/// Holds that both say the same, but for what is known to be otherwise.
pub(super) fn compare(ours: &Outcomes, theirs: &Outcomes, differences: &[&str]) {
    assert_eq!(ours.len(), theirs.len());
    let mut differing = Vec::new();
    let mut told = String::new();
    for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
        if ours != theirs {
            differing.push(*name);
            let _ = writeln!(told, "{name}\n  Holdfast: {ours}\n  SPIRE:    {theirs}");
        }
    }
    assert_eq!(differing, differences, "\n{told}");
    println!("{} questions, {} answered otherwise:\n{told}", ours.len(), differing.len());
}

type Client = SpiffeWorkloadApiClient<Channel>;
pub(super) type Outcomes = Vec<(&'static str, String)>;

/// Asks everything of one side.
async fn walk(domain: &TrustDomain) -> Outcomes {
    let channel = unix_channel(&domain.socket());
    let mut client = SpiffeWorkloadApiClient::new(channel.clone());
    let mut said: Outcomes = Vec::new();
    without_a_header(&mut client, &mut said).await;
    around_the_api(channel, &mut said).await;
    unregistered(&mut client, &mut said).await;

    // SPIRE puts the entry with the least id first, and we the oldest: here that is the same one.
    let first = domain.register(&Registration::own("/first").hint("one").id("a"));
    wait_for(&mut client, 1).await;
    let mut streams = Streams::open(&mut client).await;
    let mut second = Registration::own("/second").hint("two").id("b");
    second.dns_names = vec!["second.example.org".to_owned(), "alias.example.org".to_owned()];
    let second = domain.register(&second);
    said.push(("stream: another entry", streams.svids_next(2).await));
    x509(&mut client, &mut said).await;
    jwt(&mut client, &mut said).await;
    validation(&mut client, &mut said).await;

    domain.unregister(&second);
    said.push(("stream: an entry less", streams.svids_next(1).await));
    domain.unregister(&first);
    said.push(("stream: the last entry is gone", streams.svids_next(0).await));
    said.push(("bundle stream: the last entry is gone", streams.bundles_end().await));
    said
}

/// A request with the header that every request needs.
fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

async fn without_a_header(client: &mut Client, said: &mut Outcomes) {
    let no = |text: &'static str| {
        let mut request = Request::new(X509svidRequest {});
        if !text.is_empty() {
            request.metadata_mut().insert("workload.spiffe.io", text.parse().unwrap());
        }
        request
    };
    for (name, value) in [
        ("no header: FetchX509SVID", ""),
        ("header false", "false"),
        ("header True", "True"),
        ("header 1", "1"),
    ] {
        said.push((name, first(client.fetch_x509svid(no(value)).await, |told| svids(&told)).await));
    }
    let answer = client.fetch_x509_bundles(X509BundlesRequest {}).await;
    said.push(("no header: FetchX509Bundles", first(answer, |_| String::new()).await));
    let answer = client.fetch_jwt_bundles(JwtBundlesRequest {}).await;
    said.push(("no header: FetchJWTBundles", first(answer, |_| String::new()).await));
    let answer = client.fetch_jwtsvid(asking_for(&["vault"], "").into_inner()).await;
    said.push(("no header: FetchJWTSVID", one(answer, |_| String::new())));
    let request = ValidateJwtsvidRequest { audience: "vault".into(), svid: "x".into() };
    let answer = client.validate_jwtsvid(request).await;
    said.push(("no header: ValidateJWTSVID", one(answer, |_| String::new())));
}

async fn around_the_api(channel: Channel, said: &mut Outcomes) {
    for (name, path) in [
        ("a method of later versions", "/SpiffeWorkloadAPI/FetchWITSVID"),
        ("a bundle of later versions", "/SpiffeWorkloadAPI/FetchWITBundles"),
        ("no method", "/SpiffeWorkloadAPI/FetchNothing"),
        ("no service", "/Nothing/FetchNothing"),
    ] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<X509svidRequest, X509svidResponse>::default();
        let answer = client.unary(with_header(X509svidRequest {}), path, codec).await;
        said.push((name, one(answer, |_| String::new())));
    }
    let mut health = HealthClient::new(channel);
    for (name, service) in [("health", ""), ("health of no service", "nothing")] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        said.push((name, one(answer, |told| format!("{:?}", told.status()))));
    }
}

async fn unregistered(client: &mut Client, said: &mut Outcomes) {
    let answer = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    said.push(("unregistered: FetchX509SVID", first(answer, |told| svids(&told)).await));
    let answer = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await;
    said.push(("unregistered: FetchX509Bundles", first(answer, |_| "bundles".into()).await));
    let answer = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await;
    said.push(("unregistered: FetchJWTBundles", first(answer, |_| "bundles".into()).await));
    let answer = client.fetch_jwtsvid(asking_for(&["vault"], "")).await;
    said.push(("unregistered: FetchJWTSVID", one(answer, |_| "tokens".into())));
    let answer = client.validate_jwtsvid(checking("vault", "x.y.z")).await;
    said.push(("unregistered: ValidateJWTSVID", one(answer, |_| "valid".into())));
}

async fn x509(client: &mut Client, said: &mut Outcomes) {
    let answer = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    said.push(("FetchX509SVID", first(answer, |told| svids(&told)).await));
    let answer = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    said.push(("extensions of the certificates", first(answer, |told| extensions(&told)).await));
    let answer = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await;
    let tell = |told: holdfast_spiffe::proto::workload::X509BundlesResponse| {
        let bundles = told.bundles.iter().map(|(domain, der)| (domain, certificates(der)));
        format!("{:?}, {} revocation lists", bundles.collect::<Vec<_>>(), told.crl.len())
    };
    said.push(("FetchX509Bundles", first(answer, tell).await));
    let answer = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await;
    let tell = |told: holdfast_spiffe::proto::workload::JwtBundlesResponse| {
        let bundles = told.bundles.iter().map(|(domain, jwks)| (domain, key_set(jwks)));
        format!("{:?}", bundles.collect::<Vec<_>>())
    };
    said.push(("FetchJWTBundles", first(answer, tell).await));
}

async fn jwt(client: &mut Client, said: &mut Outcomes) {
    let long = "x".repeat(1000);
    for (name, audience, id) in [
        ("a token", &["vault"][..], ""),
        ("a token of one ID", &["vault"], "spiffe://example.org/second"),
        ("a token for two", &["vault", "other"], "spiffe://example.org/first"),
        ("a token for one twice", &["vault", "vault"], "spiffe://example.org/first"),
        ("a token for a long audience", &[&long], "spiffe://example.org/first"),
        ("a token for nobody", &[], ""),
        ("a token for an empty audience", &[""], ""),
        ("a token for one and an empty audience", &["vault", ""], ""),
        ("a token of what is no ID", &["vault"], "second"),
        ("a token of an ID with a query", &["vault"], "spiffe://example.org/second?x=1"),
        ("a token of another's ID", &["vault"], "spiffe://example.org/third"),
        ("a token of another trust domain", &["vault"], "spiffe://other.org/first"),
    ] {
        let answer = client.fetch_jwtsvid(asking_for(audience, id)).await;
        said.push((name, one(answer, tokens)));
    }
}

async fn validation(client: &mut Client, said: &mut Outcomes) {
    let answer = client.fetch_jwtsvid(asking_for(&["vault"], "")).await.unwrap().into_inner();
    let good = &answer.svids[0].svid;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token has three parts") };
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let key = decoded(header)["kid"].clone();
    let headed = |changed: Value| format!("{}.{claims}.{signature}", encode(changed));
    let claiming = |name: &str, value: Value| {
        let mut claims = decoded(claims);
        claims[name] = value;
        format!("{header}.{}.{signature}", encode(claims))
    };
    let without = |name: &str| {
        let mut claims = decoded(claims);
        claims.as_object_mut().unwrap().remove(name);
        format!("{header}.{}.{signature}", encode(claims))
    };
    let mut other_signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    other_signature[10] ^= 1;
    for (name, audience, token) in [
        ("validate", "vault", good.clone()),
        ("validate for another audience", "other", good.clone()),
        ("validate for no audience", "", good.clone()),
        ("validate nothing", "vault", String::new()),
        ("validate what is no token", "vault", "nonsense".to_owned()),
        ("validate dots", "vault", "..".to_owned()),
        ("validate no header", "vault", format!("!.{claims}.{signature}")),
        ("validate without a signature", "vault", format!("{header}.{claims}.")),
        ("validate algorithm none", "vault", headed(json!({ "alg": "none", "kid": key }))),
        ("validate algorithm HS256", "vault", headed(json!({ "alg": "HS256", "kid": key }))),
        ("validate another algorithm", "vault", headed(json!({ "alg": "RS256", "kid": key }))),
        ("validate without a key's id", "vault", headed(json!({ "alg": "ES256", "typ": "JWT" }))),
        ("validate an unknown key's", "vault", headed(json!({ "alg": "ES256", "kid": "nobody" }))),
        ("validate a changed claim", "vault", claiming("exp", json!(4_000_000_000u32))),
        ("validate an unknown trust domain", "vault", claiming("sub", json!("spiffe://x.org/a"))),
        ("validate a subject that is no ID", "vault", claiming("sub", json!("first"))),
        ("validate without a subject", "vault", without("sub")),
        ("validate without an expiry", "vault", without("exp")),
        (
            "validate a changed signature",
            "vault",
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(other_signature)),
        ),
    ] {
        let answer = client.validate_jwtsvid(checking(audience, &token)).await;
        let tell = |told: holdfast_spiffe::proto::workload::ValidateJwtsvidResponse| {
            let claims = told.claims.unwrap_or_default();
            let names: Vec<_> = claims.fields.keys().collect();
            format!("{} {names:?} aud {:?}", told.spiffe_id, claims.fields.get("aud"))
        };
        let told = one(answer, tell);
        said.push((name, told.replace(key.as_str().unwrap_or_default(), "<key>")));
    }
}

fn asking_for(audience: &[&str], id: &str) -> Request<JwtsvidRequest> {
    let audience = audience.iter().map(|&one| one.to_owned()).collect();
    with_header(JwtsvidRequest { audience, spiffe_id: id.to_owned() })
}

fn checking(audience: &str, token: &str) -> Request<ValidateJwtsvidRequest> {
    with_header(ValidateJwtsvidRequest { audience: audience.to_owned(), svid: token.to_owned() })
}

/// Waits until so many identities are handed out.
async fn wait_for(client: &mut Client, count: usize) {
    let start = Instant::now();
    loop {
        let answer = client.fetch_x509svid(with_header(X509svidRequest {})).await;
        let told = match answer {
            Ok(stream) => stream.into_inner().message().await,
            Err(status) => Err(status),
        };
        if matches!(&told, Ok(Some(told)) if told.svids.len() == count) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {count} identities: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Streams that stay open.
struct Streams {
    svids: Streaming<X509svidResponse>,
    bundles: Streaming<holdfast_spiffe::proto::workload::JwtBundlesResponse>,
}

impl Streams {
    /// Opens them, and takes what they say at once.
    async fn open(client: &mut Client) -> Self {
        let svids = client.fetch_x509svid(with_header(X509svidRequest {})).await.unwrap();
        let bundles = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await.unwrap();
        let mut streams = Self { svids: svids.into_inner(), bundles: bundles.into_inner() };
        streams.svids.message().await.unwrap().unwrap();
        streams.bundles.message().await.unwrap().unwrap();
        streams
    }

    /// What comes once there are so many identities. SPIRE tells the same twice now and then.
    async fn svids_next(&mut self, count: usize) -> String {
        loop {
            match tokio::time::timeout(PATIENCE, self.svids.message()).await {
                Ok(Ok(Some(told))) if told.svids.len() == count => return svids(&told),
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return "it ends".to_owned(),
                Ok(Err(status)) => return refusal(&status),
                Err(_) => return "nothing".to_owned(),
            }
        }
    }

    /// How it ends, whatever it says before.
    async fn bundles_end(&mut self) -> String {
        loop {
            match tokio::time::timeout(PATIENCE, self.bundles.message()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return "it ends".to_owned(),
                Ok(Err(status)) => return refusal(&status),
                Err(_) => return "it stays".to_owned(),
            }
        }
    }
}

/// The first word of a stream.
pub(super) async fn first<T>(
    answer: Result<Response<Streaming<T>>, Status>,
    tell: impl FnOnce(T) -> String,
) -> String {
    let told = match answer {
        Ok(stream) => tokio::time::timeout(PATIENCE, stream.into_inner().message()).await,
        Err(status) => Ok(Err(status)),
    };
    match told {
        Ok(Ok(Some(message))) => tell(message),
        Ok(Ok(None)) => "it ends".to_owned(),
        Ok(Err(status)) => refusal(&status),
        Err(_) => "nothing".to_owned(),
    }
}

pub(super) fn one<T>(
    answer: Result<Response<T>, Status>,
    tell: impl FnOnce(T) -> String,
) -> String {
    answer.map_or_else(|status| refusal(&status), |response| tell(response.into_inner()))
}

/// A code and its words, without what ours adds for operators.
pub(super) fn refusal(status: &Status) -> String {
    let words = status.message();
    let mut words = words.split(" (explain ").next().unwrap_or(words).to_owned();
    // After these comes what the reader of IDs or of tokens says in words of its own.
    for start in [
        "invalid requested SPIFFE ID:",
        "unable to parse JWT token:",
        "token has an invalid subject claim:",
        "token has in invalid subject claim:",
    ] {
        if words.starts_with(start) {
            words = start.replace(" in invalid", " an invalid");
        }
    }
    match status.code() {
        // No words of ours: the framework's.
        Code::Unimplemented => "Unimplemented".to_owned(),
        code => format!("{code:?}: {words}"),
    }
}

fn svids(told: &X509svidResponse) -> String {
    let mut text = format!("{} federated, {} lists", told.federated_bundles.len(), told.crl.len());
    for svid in &told.svids {
        let key = PrivateKeyKind::of(&svid.x509_svid_key);
        let _ = write!(
            text,
            "; {} hint {:?} key {key:?} bundle {:?} chain",
            svid.spiffe_id,
            svid.hint,
            certificates(&svid.bundle)
        );
        let mut rest = &svid.x509_svid[..];
        while !rest.is_empty() {
            let (after, certificate) = X509Certificate::from_der(rest).unwrap();
            text.push_str(&described(&certificate));
            rest = after;
        }
    }
    text
}

/// What form a key is in.
#[derive(Debug)]
enum PrivateKeyKind {
    Pkcs8EcP256,
    Other,
}

impl PrivateKeyKind {
    fn of(der: &[u8]) -> Self {
        use holdfast_keys::x509::{KeyAlgorithm, PrivateKey};
        match PrivateKey::from_der(der) {
            Ok(key) if matches!(key.algorithm(), KeyAlgorithm::Ec(_)) => Self::Pkcs8EcP256,
            _ => Self::Other,
        }
    }
}

/// What a certificate says, but for keys, numbers and moments.
fn described(certificate: &X509Certificate<'_>) -> String {
    let life = certificate.validity().not_after.timestamp()
        - certificate.validity().not_before.timestamp();
    let leaf = !certificate.is_ca();
    let mut text = format!(" [version {:?}", certificate.version());
    if leaf {
        // To a minute: what is cut off by the authority's end is not.
        let _ = write!(text, " life {}min", (life + 30) / 60);
    }
    if leaf {
        let names = certificate.subject().iter_common_name().map(|name| name.as_str().unwrap());
        let _ = write!(text, " names {:?}", names.collect::<Vec<_>>());
    } else {
        text.push_str(" authority");
    }
    let others = certificate.subject_alternative_name().unwrap();
    let others = others.into_iter().flat_map(|others| &others.value.general_names);
    let mut others: Vec<String> = others.map(|other| format!("{other:?}")).collect();
    others.sort();
    let _ = write!(text, " {others:?}");
    text + "]"
}

/// The extensions of the certificates of the first identity.
fn extensions(told: &X509svidResponse) -> String {
    let mut all = Vec::new();
    let mut rest = &told.svids[0].x509_svid[..];
    while !rest.is_empty() {
        let (after, certificate) = X509Certificate::from_der(rest).unwrap();
        all.push(extensions_of(&certificate));
        rest = after;
    }
    format!("{all:?}")
}

fn extensions_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut extensions: Vec<String> = Vec::new();
    for extension in certificate.extensions() {
        let critical = if extension.critical { "critical " } else { "" };
        let what = match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(_) => "subject key".to_owned(),
            ParsedExtension::AuthorityKeyIdentifier(_) => "authority key".to_owned(),
            ParsedExtension::BasicConstraints(basic) => format!("CA {}", basic.ca),
            other => format!("{other:?}"),
        };
        extensions.push(format!("{critical}{what}"));
    }
    extensions.sort();
    extensions
}

/// The subjects of certificates one after another.
pub(super) fn certificates(mut der: &[u8]) -> Vec<String> {
    let mut subjects = Vec::new();
    while !der.is_empty() {
        let (after, certificate) = X509Certificate::from_der(der).unwrap();
        subjects.push(certificate.subject().to_string());
        der = after;
    }
    subjects
}

/// The keys of a set, by what is known of each.
pub(super) fn key_set(jwks: &[u8]) -> Vec<String> {
    let set: Value = serde_json::from_slice(jwks).unwrap();
    let others: Vec<&String> = set.as_object().unwrap().keys().collect();
    let keys = set["keys"].as_array().unwrap().iter().map(|key| {
        let mut names: Vec<&String> = key.as_object().unwrap().keys().collect();
        names.sort();
        format!("{others:?} {} {} {names:?}", key["kty"], key["crv"])
    });
    keys.collect()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn tokens(told: JwtsvidResponse) -> String {
    let mut text = String::new();
    for svid in told.svids {
        let parts: Vec<&str> = svid.svid.split('.').collect();
        let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
        let mut header_names: Vec<_> = header.as_object().unwrap().keys().collect();
        header_names.sort();
        let mut names: Vec<_> = claims.as_object().unwrap().keys().collect();
        names.sort();
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        let _ = write!(
            text,
            "{} hint {:?} {header_names:?} {} {} {names:?} sub {} aud {} life {}min; ",
            svid.spiffe_id,
            svid.hint,
            header["alg"],
            header["typ"],
            claims["sub"],
            claims["aud"],
            (life + 30) / 60,
        );
    }
    text
}
