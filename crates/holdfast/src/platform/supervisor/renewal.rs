//! Certificates are replaced long before they end, without a restart.

use std::rc::Rc;
use std::time::Duration;

use holdfast_types::{Clock, SystemClock};
use nix::sys::signal::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::super::root::renew_at;
use super::Running;

/// How often they are looked at, at least. By the wall clock, so that a machine that slept catches up.
const EVERY: Duration = Duration::from_secs(60);

pub(super) async fn renew(running: Rc<Running>) {
    let mut tick = interval(EVERY.min(running.root.leaf_lifetime() / 60));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for part in renew_due(&running) {
            let handle = running.parts.borrow().iter().find(|handle| handle.name == part).cloned();
            if let Some(handle) = handle {
                handle.signal(Signal::SIGHUP).await;
            }
        }
    }
}

/// Issues the certificates that are due anew; gives the parts that have to read theirs.
fn renew_due(running: &Running) -> Vec<String> {
    let now = SystemClock.now();
    let mut renewed = Vec::new();
    for certificate in running.certificates.borrow_mut().iter_mut() {
        if now < renew_at(&certificate.info) {
            continue;
        }
        let issued =
            running.root.issue(&certificate.directory, &certificate.names, &certificate.owner);
        match issued {
            Ok(info) => {
                certificate.info = info;
                renewed.push(certificate.part.clone());
            }
            Err(error) => {
                tracing::error!(part = certificate.part, "renew a certificate: {error:#}");
            }
        }
    }
    renewed
}
