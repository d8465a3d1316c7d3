//! Requests that never rest across rotations, while the secrets server is killed.

use std::time::{Duration, Instant};

use holdfast_client::postgres::RotatingPool;

use super::world::{Load, World, until};
use crate::process::Server;

/// How the proof runs: in its short form, and in full, for which `cargo xtask prove pool` asks.
struct Size {
    rotations: u64,
    /// Seconds.
    lease: u64,
    drain: Duration,
    long: Duration,
    /// Within which the old credential has to be refused, from the moment that nobody uses it.
    refused: Duration,
}

const SHORT: Size = Size {
    rotations: 4,
    lease: 10,
    drain: Duration::from_secs(5),
    long: Duration::from_secs(1),
    // Whatever else the machine does.
    refused: Duration::from_secs(10),
};
const FULL: Size = Size {
    rotations: 50,
    lease: 16,
    drain: Duration::from_secs(8),
    long: Duration::from_secs(5),
    refused: Duration::from_secs(2),
};

/// When the secrets server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Before the next login; it comes back once that failed.
    AtLogin,
    /// While old connections drain; it comes back once the revocation failed.
    AtRevocation,
    /// At any time, and comes back at once.
    Anywhere(Duration),
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_do_not_notice_rotations_and_kills() {
    let rounds = std::env::var("HOLDFAST_PROVE_POOL");
    let size = match rounds {
        Ok(rounds) => Size { rotations: rounds.parse().expect("a number"), ..FULL },
        Err(_) => SHORT,
    };
    let mut server = Server::new().await;
    let root = server.client();
    let address = format!("unix://{}", server.folder().join("server.sock").display());
    let world = World::new(&root, &address, size.lease).await;
    let mut settings = world.settings();
    settings.drain_limit = size.drain;
    let pool = RotatingPool::start(settings, world.vault.clone(), world.login()).await.unwrap();
    let load = Load::start(&pool, 8, 16, size.long);
    let (mut kills, mut slowest, mut most) = (0, Duration::ZERO, 0);
    for round in 1..=size.rotations {
        let fault = fault(round, size.lease);
        let before = pool.snapshot();
        let old = before.user.clone().unwrap();
        assert!(world.admits(&old).await, "round {round}: it is in use");
        match fault {
            Fault::AtLogin => {
                server.kill();
                until("a login to fail", || pool.snapshot().login_failures > before.login_failures)
                    .await;
                server.start().await;
            }
            Fault::Anywhere(after) => {
                tokio::time::sleep(after).await;
                server.kill();
                server.start().await;
            }
            Fault::None | Fault::AtRevocation => {}
        }
        until("another credential", || pool.snapshot().user.as_ref() != Some(&old)).await;
        most = most.max(world.sessions());
        if fault == Fault::AtRevocation {
            server.kill();
            until("a revocation to fail", || {
                pool.snapshot().revocation_failures > before.revocation_failures
            })
            .await;
            server.start().await;
        }
        kills += u64::from(fault != Fault::None);
        until("its connections to be given back", || pool.snapshot().drains > before.drains).await;
        let drained = Instant::now();
        while world.admits(&old).await {
            let told = pool.snapshot();
            assert!(drained.elapsed() < size.refused, "round {round}, {fault:?}: {told:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = drained.elapsed();
        slowest = slowest.max(refused);
        let sessions = world.sessions();
        assert!((5..=40).contains(&sessions), "round {round}: {sessions} sessions");
    }
    let (served, failed) = load.end().await;
    let told = pool.snapshot();
    pool.close().await;
    assert_eq!(failed, Vec::<String>::new(), "no request failed: {told:?}");
    assert_eq!(world.ledger(), served, "no transaction was lost");
    assert_eq!(world.users(), "", "no user is left: {:?}", pool.snapshot());
    assert_eq!(pool.snapshot().leaving, 0, "no lease is left");
    assert_eq!(told.drains_cut, 0, "{told:?}");
    println!(
        "{} rotations, {kills} kills, {served} requests of up to {:?}, none failed; old credentials \
         refused at most {slowest:?} after their drain; at most {most} sessions; {told:?}",
        told.rotations, size.long,
    );
    // More requests than connections, so some wait where connections are replaced.
    assert!(told.moves > 0, "{told:?}");
    assert!(kills > 0 && told.login_failures > 0 && told.revocation_failures > 0);
}

/// Every second round without a kill, then each kind in turn.
fn fault(round: u64, lease: u64) -> Fault {
    match round % 4 {
        1 => Fault::AtLogin,
        2 => Fault::AtRevocation,
        // Spread over the time between two rotations.
        3 => Fault::Anywhere(Duration::from_millis(round * 397 % (lease * 1000 / 2))),
        _ => Fault::None,
    }
}
