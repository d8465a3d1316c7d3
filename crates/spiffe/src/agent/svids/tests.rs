use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_testkit::FakeClock;
use holdfast_types::{Clock as _, SystemClock, SystemRandom};
use tokio::sync::watch;

use super::*;
use crate::agent::testing::TestServer;
use crate::agent::tokens::Tokens;
use crate::{JwtSvid, Snapshot, X509Svid};

const HOUR: Duration = Duration::from_secs(3600);

/// A server whose time is the test's, and which may be away.
struct Server {
    signer: Arc<TestServer>,
    clock: Arc<FakeClock>,
    is_away: AtomicBool,
}

#[async_trait]
impl Source for Server {
    fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.signer.watch()
    }

    async fn mint_x509(&self, entry: &str, request: &[u8]) -> Result<X509Svid, MintError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(MintError::Unavailable("away".into()));
        }
        let svid = self.signer.mint_x509(entry, request).await?;
        let now = self.clock.now();
        Ok(X509Svid { not_before: now, not_after: now + HOUR, ..svid })
    }

    async fn mint_jwt(&self, entry: &str, audiences: &[String]) -> Result<JwtSvid, MintError> {
        self.signer.mint_jwt(entry, audiences).await
    }
}

#[tokio::test]
async fn after_a_long_sleep_nothing_is_handed_out_that_has_ended() {
    let clock = Arc::new(FakeClock::at(SystemClock.now().as_second()));
    let signer = TestServer::new(&[("a", "/a", &["unix:uid:1"])]);
    let server = Arc::new(Server { signer, clock: clock.clone(), is_away: AtomicBool::new(false) });
    let snapshot = server.watch().borrow().clone().unwrap();
    let (entry, bundle) = (&snapshot.entries.by_age()[0], &snapshot.bundle);
    let svids = Svids::new(server.clone(), clock.clone(), Arc::new(SystemRandom));
    let (first, next) = svids.get(entry, bundle).await.unwrap();
    assert!(next > clock.now() + HOUR * 2 / 5 && next < clock.now() + HOUR * 3 / 5);

    // While the server is away, what is good stays in use, and is asked for again soon.
    let away = |is_away| server.is_away.store(is_away, Ordering::SeqCst);
    away(true);
    clock.advance(HOUR * 3 / 4);
    let (same, again) = svids.get(entry, bundle).await.unwrap();
    assert_eq!(same.serial, first.serial);
    assert_eq!(again, clock.now() + RETRY);

    // A clock that is set back an hour takes nothing away, but others may not take this one yet.
    clock.set(clock.now() - HOUR);
    assert_eq!(svids.get(entry, bundle).await.unwrap().0.serial, first.serial);
    away(false);
    clock.advance(RETRY);
    let (valid, _) = svids.get(entry, bundle).await.unwrap();
    assert_ne!(valid.serial, first.serial);
    clock.set(clock.now() - HOUR);
    assert_ne!(svids.get(entry, bundle).await.unwrap().0.serial, valid.serial);
    clock.advance(HOUR);
    away(true);

    // Twelve hours of sleep: nothing rather than what has ended.
    clock.advance(HOUR * 12);
    let error = svids.get(entry, bundle).await.err();
    assert!(matches!(error, Some(MintError::Unavailable(_))), "{error:?}");
    away(false);
    let (fresh, _) = svids.get(entry, bundle).await.unwrap();
    assert_ne!(fresh.serial, first.serial);
    assert!(fresh.not_after > clock.now());
}

/// The SPIFFE ID that stands in a certificate.
fn certified(svid: &Svid) -> String {
    let leaf = Certificate::from_der(&svid.chain[0]).unwrap();
    leaf.names().iter().map(|name| format!("{name:?}")).collect()
}

/// The SPIFFE ID that a token says.
fn said(token: &JwtSvid) -> String {
    let text = token.token.expose();
    let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_entry_that_comes_in_the_place_of_another_gets_nothing_of_it() {
    let signer = TestServer::new(&[("a", "/payroll", &["unix:uid:1"])]);
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let svids = Svids::new(signer.clone(), clock.clone(), chance.clone());
    let tokens = Tokens::new(signer.clone(), clock, chance);
    let audience = ["x".to_owned()];
    let now = || {
        let snapshot = signer.watch().borrow().clone().unwrap();
        (snapshot.entries.get("a").unwrap().clone(), snapshot.bundle.clone())
    };
    let (payroll, bundle) = now();
    svids.get(&payroll, &bundle).await.unwrap();
    tokens.get(&payroll, &audience, &bundle).await.unwrap();

    // It was removed, and another was made of the same name: it is as new, and somebody else's.
    signer.register(&[("a", "/kitchen", &["unix:uid:2"])]);
    let (kitchen, bundle) = now();
    assert_eq!((&kitchen.id, kitchen.revision), (&payroll.id, payroll.revision));
    let (svid, _) = svids.get(&kitchen, &bundle).await.unwrap();
    assert!(certified(&svid).contains("example.org/kitchen"), "{}", certified(&svid));
    assert_eq!(svid.entry.spiffe_id, kitchen.spiffe_id);
    let token = tokens.get(&kitchen, &audience, &bundle).await.unwrap();
    assert_eq!(said(&token), kitchen.spiffe_id.as_str());
    // Asked again, it is the same.
    assert_eq!(svids.get(&kitchen, &bundle).await.unwrap().0.serial, svid.serial);
}

#[tokio::test]
async fn nobody_gets_the_identity_that_an_entry_has_by_now_for_what_it_was() {
    let signer = TestServer::new(&[("a", "/payroll", &["unix:uid:1"])]);
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let svids = Svids::new(signer.clone(), clock.clone(), chance.clone());
    let tokens = Tokens::new(signer.clone(), clock, chance);
    let snapshot = signer.watch().borrow().clone().unwrap();
    let (old, bundle) = (snapshot.entries.get("a").unwrap(), &snapshot.bundle);
    // The server has changed it, and this agent has yet to hear of it.
    signer.register(&[("a", "/kitchen", &["unix:uid:2"])]);
    let error = svids.get(old, bundle).await.err();
    assert!(matches!(error, Some(MintError::NoEntry(_))), "{error:?}");
    let error = tokens.get(old, &["x".to_owned()], bundle).await.err();
    assert!(matches!(error, Some(MintError::NoEntry(_))), "{error:?}");
}
