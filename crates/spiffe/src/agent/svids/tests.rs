use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use holdfast_testkit::FakeClock;
use holdfast_types::{Clock as _, SystemClock, SystemRandom};
use tokio::sync::watch;

use super::*;
use crate::agent::testing::TestServer;
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
