use std::collections::BTreeSet;

use holdfast_barrier::MemoryEntries;
use holdfast_keys::{Jwks, SignedToken};
use holdfast_testkit::FakeClock;
use holdfast_types::SystemRandom;

use super::upstream::DiskUpstream;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// An upstream that can be out of order.
struct Flaky {
    disk: DiskUpstream,
    is_down: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl Upstream for Flaky {
    fn name(&self) -> &'static str {
        "flaky"
    }

    async fn sign(&self, request: AuthorityRequest<'_>) -> Result<SignedAuthority, UpstreamError> {
        if self.is_down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(UpstreamError::Answer("out of order".to_owned()));
        }
        self.disk.sign(request).await
    }
}

struct Scene {
    clock: Arc<FakeClock>,
    entries: Arc<MemoryEntries>,
    upstream: Arc<Flaky>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(FakeClock::at(1_800_000_000));
        let domain = TrustDomain::parse("demo.local").unwrap();
        let root = DiskUpstream::make_root(&domain, 3650 * DAY, clock.now(), &SystemRandom);
        let (certificate, key) = root.unwrap();
        let disk = DiskUpstream::from_pem(&certificate, &key, None).unwrap();
        let upstream = Arc::new(Flaky { disk, is_down: false.into() });
        Self { clock, entries: Arc::new(MemoryEntries::default()), upstream }
    }

    fn settings() -> AuthoritySettings {
        AuthoritySettings {
            trust_domain: TrustDomain::parse("demo.local").unwrap(),
            life: DAY,
            jwt_algorithm: Algorithm::Es256,
            jwt_issuer: Some("https://spiffe.demo.local".to_owned()),
            jwt_keys_are_brought: false,
            refresh_hint: Duration::from_secs(300),
        }
    }

    async fn open(&self) -> Authorities {
        self.open_with(Self::settings(), Some(self.upstream.clone())).await
    }

    async fn open_with(
        &self,
        settings: AuthoritySettings,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Authorities {
        let store = View::new(self.entries.clone(), "");
        let random = Arc::new(SystemRandom);
        Authorities::open(store, upstream, settings, self.clock.clone(), random).await.unwrap()
    }
}

fn backend() -> SpiffeId {
    SpiffeId::parse("spiffe://demo.local/backend").unwrap()
}

/// Signs one of each and checks them by `bundle` alone, as a verifier does.
fn check(authorities: &Authorities, bundle: &Bundle, now: Timestamp) {
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let public_key = key.public_key().clone();
    let id = backend();
    let subject =
        X509Subject { spiffe_id: &id, dns_names: &[], ip_addresses: &[], public_key, ttl: HOUR };
    let svid = authorities.sign_x509(subject).unwrap();
    let mut chain: Vec<_> =
        svid.chain.iter().map(|der| Certificate::from_der(der).unwrap()).collect();
    assert!(chain.iter().all(|one| one.not_before <= now && now < one.not_after));
    let roots = bundle.x509_authorities.iter().map(|der| Certificate::from_der(der).unwrap());
    let mut roots = roots.filter(|root| chain.last().unwrap().check_signed_by(root).is_ok());
    let root = roots.next().expect("the bundle verifies the chain");
    chain.push(root);
    for pair in chain.windows(2) {
        pair[0].check_signed_by(&pair[1]).unwrap();
        assert!(pair[0].not_after <= pair[1].not_after, "none outlives its authority");
    }

    let audiences = ["vault".to_owned()];
    let svid = authorities.sign_jwt(&id, &audiences, Duration::from_secs(300)).unwrap();
    let token = SignedToken::parse(svid.token.expose()).unwrap();
    let keys = Jwks::parse(&bundle.jwks()).unwrap();
    assert!(token.key_id.is_some());
    let mut candidates = keys.candidates(token.key_id.as_deref());
    assert!(candidates.any(|key| token.is_signed_by(key)), "the bundle verifies the token");
    let claims = token.claims().unwrap();
    assert_eq!(claims["sub"], "spiffe://demo.local/backend");
    assert_eq!(claims["aud"], serde_json::json!(["vault"]));
    assert_eq!(claims["iss"], "https://spiffe.demo.local");
    assert_eq!(claims["iat"], now.as_second());
    assert_eq!(claims["exp"], now.as_second() + 300);
}

#[tokio::test]
async fn nothing_is_signed_before_there_are_authorities() {
    let scene = Scene::new();
    let authorities = scene.open().await;
    assert!(!authorities.is_ready());
    assert!(matches!(authorities.sign_jwt(&backend(), &[], HOUR), Err(SignError::NoKey)));
    scene.upstream.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(authorities.advance().await, Err(AuthorityError::Upstream(_))));
    assert!(!authorities.is_ready(), "tokens could be signed, certificates not");
    scene.upstream.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
    authorities.advance().await.unwrap();
    assert!(authorities.is_ready());
}

#[tokio::test]
async fn a_verifier_that_looks_every_six_hours_is_never_behind() {
    let scene = Scene::new();
    let authorities = scene.open().await;
    let roots = follow_every_six_hours(&scene, &authorities).await;
    assert_eq!(roots.len(), 1, "the upstream's root alone is trusted");
}

#[tokio::test]
async fn nor_is_it_where_authorities_sign_themselves() {
    let scene = Scene::new();
    let authorities = scene.open_with(Scene::settings(), None).await;
    let roots = follow_every_six_hours(&scene, &authorities).await;
    assert!(roots.len() >= 6, "roots went and came: {}", roots.len());
    let id = backend();
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let public_key = key.public_key().clone();
    let subject =
        X509Subject { spiffe_id: &id, dns_names: &[], ip_addresses: &[], public_key, ttl: HOUR };
    let svid = authorities.sign_x509(subject).unwrap();
    assert_eq!(svid.chain.len(), 1, "what the bundle holds is not sent along");
}

/// Signs every hour for five days; gives the roots that were in the bundle.
async fn follow_every_six_hours(scene: &Scene, authorities: &Authorities) -> BTreeSet<Vec<u8>> {
    authorities.advance().await.unwrap();
    let mut seen = authorities.bundle().borrow().clone();
    let (mut keys, mut roots) = (BTreeSet::new(), BTreeSet::new());
    for hour in 0..120_u32 {
        scene.clock.advance(HOUR);
        authorities.advance().await.unwrap();
        check(authorities, &seen, scene.clock.now());
        if hour % 6 == 0 {
            let now = authorities.bundle().borrow().clone();
            assert!(now.sequence >= seen.sequence);
            seen = now;
        }
        keys.extend(seen.jwt_authorities.iter().map(|key| key["kid"].to_string()));
        assert!(seen.jwt_authorities.len() <= 3, "ended keys are dropped");
        roots.extend(seen.x509_authorities.iter().cloned());
        assert!(seen.x509_authorities.len() <= 3, "so are ended roots");
    }
    assert!(keys.len() >= 6, "keys went and came: {}", keys.len());
    roots
}

#[tokio::test]
async fn a_key_that_is_brought_signs_once_it_was_acknowledged_or_no_other_can() {
    let settings = AuthoritySettings { jwt_keys_are_brought: true, ..Scene::settings() };
    let scene = Scene::new();
    let upstream = || -> Option<Arc<dyn Upstream>> { Some(scene.upstream.clone()) };
    let authorities = scene.open_with(settings.clone(), upstream()).await;
    let kid = |authorities: &Authorities| {
        let svid = authorities.sign_jwt(&backend(), &[], Duration::from_secs(300)).unwrap();
        SignedToken::parse(svid.token.expose()).unwrap().key_id.unwrap()
    };
    let published = |authorities: &Authorities| -> Vec<String> {
        let bundle = authorities.bundle().borrow().clone();
        bundle.jwt_authorities.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    authorities.advance().await.unwrap();
    let first = kid(&authorities);
    scene.clock.advance(13 * HOUR);
    authorities.advance().await.unwrap();
    let [_, second] = published(&authorities).try_into().unwrap();
    scene.clock.advance(9 * HOUR);
    authorities.advance().await.unwrap();
    assert_eq!(kid(&authorities), first, "the next one is due, and awaited");
    authorities.acknowledge(&[first.clone(), "another".to_owned()]).await.unwrap();
    assert_eq!(kid(&authorities), first);
    authorities.acknowledge(std::slice::from_ref(&second)).await.unwrap();
    assert_eq!(kid(&authorities), second);
    drop(authorities);

    // What waits is stored; a key that nobody brought is better than none.
    let authorities = scene.open_with(settings, upstream()).await;
    for hour in 22..37 {
        scene.clock.advance(HOUR);
        authorities.advance().await.unwrap();
        assert_eq!(kid(&authorities) == second, hour < 36, "at {hour} hours");
    }
    assert!(!published(&authorities).contains(&first));
}

#[tokio::test]
async fn it_goes_on_after_a_restart_and_after_four_hundred_days_off() {
    let scene = Scene::new();
    let authorities = scene.open().await;
    authorities.advance().await.unwrap();
    let bundle = authorities.bundle().borrow().clone();
    drop(authorities);
    let authorities = scene.open().await;
    assert!(authorities.is_ready(), "the keys were stored");
    assert_eq!(*authorities.bundle().borrow(), bundle);
    check(&authorities, &bundle, scene.clock.now());
    drop(authorities);

    scene.clock.advance(400 * DAY);
    let authorities = scene.open().await;
    assert!(!authorities.is_ready(), "nothing is signed with keys that ended");
    authorities.advance().await.unwrap();
    let healed = authorities.bundle().borrow().clone();
    check(&authorities, &healed, scene.clock.now());
    assert_eq!(healed.jwt_authorities.len(), 1);
    assert!(healed.sequence > bundle.sequence);
}

#[tokio::test]
async fn an_upstream_that_is_down_costs_nothing_until_the_end() {
    let scene = Scene::new();
    let authorities = scene.open().await;
    authorities.advance().await.unwrap();
    scene.upstream.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..22 {
        scene.clock.advance(HOUR);
        let _ = authorities.advance().await;
        check(&authorities, &authorities.bundle().borrow().clone(), scene.clock.now());
    }
    scene.clock.advance(2 * HOUR);
    assert!(authorities.advance().await.is_err());
    assert!(!authorities.is_ready());
    scene.upstream.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
    authorities.advance().await.unwrap();
    check(&authorities, &authorities.bundle().borrow().clone(), scene.clock.now());
}

/// The ids of one kind, by where they stand.
async fn standings(authorities: &Authorities, kind: Kind) -> Vec<(String, Standing)> {
    authorities.list(kind).await.into_iter().map(|one| (one.id, one.standing)).collect()
}

#[tokio::test]
async fn an_operator_replaces_and_ends_authorities() {
    let scene = Scene::new();
    let authorities = scene.open_with(Scene::settings(), None).await;
    authorities.advance().await.unwrap();
    let mut bundles = authorities.bundle();
    for kind in [Kind::X509, Kind::Jwt] {
        let first = authorities.list(kind).await.remove(0).id;
        let skipped = authorities.prepare(kind).await.unwrap().id;
        let second = authorities.prepare(kind).await.unwrap().id;
        let prepared = bundles.borrow_and_update().clone();
        let is = |id: &String, standing| (id.clone(), standing);
        let want = [is(&first, Standing::Active), is(&second, Standing::Prepared)];
        assert_eq!(standings(&authorities, kind).await, want, "one that signed nothing is gone");
        assert!(matches!(
            authorities.activate(kind, &skipped).await,
            Err(OrderError::Unknown(id)) if id == skipped
        ));
        assert!(matches!(
            authorities.activate(kind, &first).await,
            Err(OrderError::NotPrepared(_))
        ));
        assert!(matches!(authorities.taint(kind, &first).await, Err(OrderError::Active(_))));
        assert!(matches!(authorities.taint(kind, &second).await, Err(OrderError::Prepared(_))));
        authorities.activate(kind, &second).await.unwrap();
        // Who had the bundle before verifies what is signed from now on.
        check(&authorities, &prepared, scene.clock.now());
        assert!(matches!(authorities.revoke(kind, &first).await, Err(OrderError::NotTainted(_))));
        assert!(authorities.taint(kind, &first).await.unwrap().is_tainted);
        assert!(matches!(authorities.taint(kind, &first).await, Err(OrderError::Tainted(_))));
        assert!(bundles.borrow_and_update().taints_key(&first));

        // What was ordered outlives the process.
        let restarted = scene.open_with(Scene::settings(), None).await;
        assert_eq!(restarted.list(kind).await, authorities.list(kind).await);
        assert_eq!(*restarted.bundle().borrow(), *bundles.borrow());

        authorities.revoke(kind, &first).await.unwrap();
        assert_eq!(standings(&authorities, kind).await, [is(&second, Standing::Active)]);
        assert_eq!(bundles.borrow_and_update().tainted, [""; 0]);
        authorities.advance().await.unwrap();
        assert_eq!(standings(&authorities, kind).await, [is(&second, Standing::Active)]);
    }
    let bundle = bundles.borrow().clone();
    assert_eq!([bundle.x509_authorities.len(), bundle.jwt_authorities.len()], [1, 1]);
    check(&authorities, &bundle, scene.clock.now());
}

#[tokio::test]
async fn a_key_that_is_being_brought_is_not_activated_by_hand() {
    let scene = Scene::new();
    let settings = AuthoritySettings { jwt_keys_are_brought: true, ..Scene::settings() };
    let authorities = scene.open_with(settings, Some(scene.upstream.clone())).await;
    authorities.advance().await.unwrap();
    let next = authorities.prepare(Kind::Jwt).await.unwrap().id;
    let refused = authorities.activate(Kind::Jwt, &next).await;
    assert!(matches!(refused, Err(OrderError::Awaited(_))));
    authorities.acknowledge(std::slice::from_ref(&next)).await.unwrap();
    authorities.activate(Kind::Jwt, &next).await.unwrap();
}

#[tokio::test]
async fn orders_below_an_upstream() {
    let scene = Scene::new();
    let authorities = scene.open().await;
    authorities.advance().await.unwrap();
    let first = authorities.list(Kind::X509).await.remove(0).id;
    scene.upstream.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let before = authorities.list(Kind::X509).await;
    let refused = authorities.prepare(Kind::X509).await;
    assert!(matches!(refused, Err(OrderError::Authority(AuthorityError::Upstream(_)))));
    assert_eq!(authorities.list(Kind::X509).await, before, "what cannot be done changes nothing");
    scene.upstream.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
    let next = authorities.prepare(Kind::X509).await.unwrap();
    authorities.activate(Kind::X509, &next.id).await.unwrap();
    authorities.taint(Kind::X509, &first).await.unwrap();
    let refused = authorities.revoke(Kind::X509, &first).await;
    assert!(
        matches!(refused, Err(OrderError::Upstream { end, .. }) if end == before[0].expires_at)
    );

    // What is not signed by it is not tainted.
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let (id, public_key) = (backend(), key.public_key().clone());
    let subject =
        X509Subject { spiffe_id: &id, dns_names: &[], ip_addresses: &[], public_key, ttl: HOUR };
    let svid = authorities.sign_x509(subject).unwrap();
    let svid = Certificate::from_der(&svid.chain[0]).unwrap();
    let bundle = authorities.bundle().borrow().clone();
    assert_eq!(bundle.tainted, [first]);
    assert!(!bundle.taints(&svid));
}
