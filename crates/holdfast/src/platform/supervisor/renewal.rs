//! The certificates that the parts serve with: X.509-SVIDs of the trust domain, each replaced at half of
//! its life or when its authority is tainted, without a restart.
//!
//! Where the SPIFFE server does not sign for so long that one is about to end, the platform root signs
//! one without a SPIFFE ID: whoever knows the part by its name still reaches it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast_keys::CertificateInfo;
use holdfast_keys::x509::Certificate as X509;
use holdfast_types::{Clock, SystemClock, Timestamp};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::super::account::Account;
use super::super::certificate::ServerCertificate;
use super::Running;

/// How often they are looked at, at least. By the wall clock, so that a machine that slept catches up.
const EVERY: Duration = Duration::from_secs(5);
/// How much of its life a certificate serves before the next one is asked for.
const RENEW_AT: f64 = 0.5;
/// The same before the platform root signs in place of the trust domain.
const REPLACE_AT: f64 = 0.75;

/// A certificate that a part serves with.
pub(super) struct Certificate {
    pub(super) part: String,
    directory: PathBuf,
    names: Vec<String>,
    owner: Account,
    pub(super) info: CertificateInfo,
    leaf: Option<X509>,
    /// Whether the platform root signed it.
    is_substitute: bool,
    /// Why there is no next one.
    pub(super) problem: Option<String>,
}

impl Running {
    /// Has a part's certificate signed, and remembers to renew it.
    pub(super) async fn issue(
        &self,
        part: &str,
        directory: PathBuf,
        names: Vec<String>,
        owner: Account,
    ) -> anyhow::Result<()> {
        let issued = self.domain()?.part_certificate(part).await?;
        issued.write(&directory, &owner)?;
        self.certificates.borrow_mut().push(Certificate {
            part: part.to_owned(),
            directory,
            names,
            owner,
            leaf: issued.leaf(),
            info: issued.info,
            is_substitute: false,
            problem: None,
        });
        Ok(())
    }
}

pub(super) async fn renew(running: Rc<Running>) {
    loop {
        let count = running.certificates.borrow().len();
        // At once: a server that does not answer keeps each waiting, and none may wait for another.
        let renewed = join_all((0..count).map(|index| renew_one(&running, index))).await;
        for part in renewed.into_iter().flatten() {
            let parts = running.parts.borrow().clone();
            if let Some(handle) = parts.iter().find(|handle| handle.name == part) {
                handle.signal(Signal::SIGHUP).await;
            }
        }
        let lives = running.certificates.borrow().iter().map(|one| life(&one.info)).min();
        sleep(lives.map_or(EVERY, |life| EVERY.min(life / 60))).await;
    }
}

/// Replaces a certificate that is due; gives the part that has to read it.
async fn renew_one(running: &Running, index: usize) -> Option<String> {
    let part = {
        let certificates = running.certificates.borrow();
        let one = certificates.get(index)?;
        let now = SystemClock.now();
        // The clock may have been set back.
        let is_early = now < one.info.not_before;
        let is_tainted = running
            .domain()
            .is_ok_and(|domain| one.leaf.as_ref().is_some_and(|it| domain.taints(it)));
        let is_old = now >= at(&one.info, RENEW_AT);
        let is_due = one.is_substitute || is_early || is_old || is_tainted;
        is_due.then(|| one.part.clone())?
    };
    let signed = match running.domain() {
        Ok(domain) => domain.part_certificate(&part).await,
        Err(error) => Err(error),
    };
    let mut certificates = running.certificates.borrow_mut();
    let certificate = certificates.get_mut(index)?;
    let problem = signed.as_ref().err().map(|error| format!("{error:#}"));
    if problem.is_some() && problem != certificate.problem {
        tracing::error!(part, "renew a certificate: {}", problem.as_deref().unwrap_or_default());
    }
    certificate.problem = problem;
    let replaced = match signed {
        Ok(issued) => certificate.replace(issued, false),
        Err(_) if SystemClock.now() >= at(&certificate.info, REPLACE_AT) => {
            tracing::warn!(part, "the platform root signs in place of the trust domain");
            let issued = running.root.issue(&certificate.names);
            issued.and_then(|issued| certificate.replace(issued, true))
        }
        Err(_) => return None,
    };
    match replaced {
        Ok(()) => Some(part),
        Err(error) => {
            tracing::error!(part, "replace a certificate: {error:#}");
            None
        }
    }
}

impl Certificate {
    fn replace(&mut self, issued: ServerCertificate, is_substitute: bool) -> anyhow::Result<()> {
        issued.write(&self.directory, &self.owner)?;
        self.leaf = issued.leaf();
        (self.info, self.is_substitute) = (issued.info, is_substitute);
        Ok(())
    }
}

fn life(info: &CertificateInfo) -> Duration {
    info.not_after.duration_since(info.not_before).try_into().unwrap_or_default()
}

/// When `part` of its life is over.
fn at(info: &CertificateInfo, part: f64) -> Timestamp {
    info.not_before + life(info).mul_f64(part)
}
