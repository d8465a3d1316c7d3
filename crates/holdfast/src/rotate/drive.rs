//! Leads a rotation through its phases: writes down where it is, acts, and writes down what comes
//! next. Whatever kills it in between, the same steps can be done again by whoever goes on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use holdfast_client::vault::VaultClient;
use holdfast_types::{Clock, SecretString, SystemClock, Timestamp};
use tokio::time::{Instant, sleep};

use super::lifecycle::{Event, Next, Phase};
use super::owner::Owner;
use super::postgres::Login;
use super::record::Record;
use super::store::{Staged, Store, Written};
use super::target::Target;
use super::teller::Teller;
use super::trouble::{Step, Trouble};

/// How often a rotation that waits shows that it lives.
pub(crate) const BEAT: Duration = Duration::from_secs(4);
/// How long others watch before they take it for dead: several beats.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// How long a server may be away in phases that wait for nobody else.
const AWAY: Duration = Duration::from_secs(60);
/// How often a write is tried whose answer may have been lost before.
const TRIES: u32 = 5;
/// The first and the longest pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Agents that an operator named.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Their control sockets.
    pub(crate) sockets: Vec<PathBuf>,
    /// Whether those that are found besides are left out.
    pub(crate) no_others: bool,
}

/// A rotation that this process works on.
pub(crate) struct Rotation<'a> {
    pub(crate) client: VaultClient,
    pub(crate) store: Store,
    pub(crate) target: Target,
    pub(crate) record: Record,
    /// This process.
    pub(crate) owner: Owner,
    /// The version of the record that was last written or read.
    pub(crate) version: u64,
    /// Which secrets server this is, by the id of its cluster, where it says so.
    pub(crate) cluster: Option<String>,
    /// A value that the operator gave.
    pub(crate) given: Option<SecretString>,
    /// The agents that the operator named.
    pub(crate) named: Named,
    pub(crate) teller: &'a Teller,
    /// Both values, once they are known.
    pub(crate) staged: Option<Staged>,
    /// Who may change roles, and the lease of that.
    pub(crate) admin: Option<(Login, String)>,
    /// When the record was last written.
    pub(crate) beaten: Instant,
}

impl Rotation<'_> {
    /// Goes on from where the record says until there is no more to do, or nobody but an operator
    /// can say what.
    ///
    /// # Errors
    /// It was taken over, or the record can be written no more.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        let outcome = self.advance().await;
        self.forget_admin().await;
        self.teller.end();
        outcome
    }

    async fn advance(&mut self) -> anyhow::Result<()> {
        while !self.record.is_over() && !self.record.held {
            let phase = self.record.phase;
            self.teller.phase(phase, &self.describe(phase));
            let event = match self.perform(phase).await {
                Ok(()) => Event::Completed,
                Err(Trouble::Lost(error)) => return Err(error),
                Err(trouble) => {
                    self.failed(phase, &trouble.into_error());
                    Event::Failed
                }
            };
            let held = event == Event::Failed && self.record.plan.hold && phase.is_forward();
            let next = match held && phase != Phase::Prepare {
                true => Next::Hold,
                false => self.record.plan.kind.next(phase, self.record.reached, event),
            };
            self.follow(next).await?;
        }
        Ok(())
    }

    /// Writes down what comes next, before it is begun.
    pub(crate) async fn follow(&mut self, next: Next) -> anyhow::Result<()> {
        match next {
            Next::Enter(phase) => self.record.enter(phase, now()),
            Next::Hold => self.record.held = true,
        }
        if self.record.is_over() || self.record.held {
            self.record.owner = None;
        }
        let deadline = Instant::now() + AWAY.max(self.timeout());
        loop {
            match self.save().await {
                Ok(()) => return Ok(()),
                Err(Trouble::Passing(_)) if Instant::now() < deadline => {
                    sleep(LONGEST_PAUSE).await;
                }
                Err(trouble) => {
                    return Err(trouble.into_error()).context("write down where it stands");
                }
            }
        }
    }

    /// What went wrong is the reason for whatever comes next.
    fn failed(&mut self, phase: Phase, error: &anyhow::Error) {
        let why = format!("{}: {error:#}", phase.name());
        self.teller.note(&why);
        self.record.note(format!("failed: {error:#}"), now());
        self.record.problem = Some(match self.record.problem.take() {
            Some(before) if !phase.is_forward() => {
                // Repeated tries tell the last failure alone.
                let first = before.split("; then ").next().unwrap_or_default().to_owned();
                format!("{first}; then {why}")
            }
            _ => why,
        });
    }

    /// Does one phase. What may pass is waited for, as long as the phase may take.
    async fn perform(&mut self, phase: Phase) -> Step {
        let begun = Instant::now();
        let limit = self.patience(phase);
        let mut pause = PAUSE;
        loop {
            let trouble = match self.act(phase).await {
                Err(Trouble::Passing(error)) => error,
                other => return other,
            };
            if begun.elapsed() >= limit {
                if phase == Phase::Inform && !self.holds_new() {
                    self.record.note(format!("went on without waiting: {trouble:#}"), now());
                    return Ok(());
                }
                let limit = limit.as_secs();
                return Err(Trouble::Failed(trouble.context(format!("not within {limit} s"))));
            }
            self.teller.waiting(phase, &format!("{trouble:#}"));
            self.wait(pause).await?;
            // Sessions of the old role can be short.
            let longest = if phase == Phase::Verify { LONGEST_PAUSE / 8 } else { LONGEST_PAUSE };
            pause = (pause * 3 / 2).min(longest);
        }
    }

    /// Waits, and shows that it lives.
    pub(crate) async fn wait(&mut self, pause: Duration) -> Step {
        sleep(pause).await;
        if self.beaten.elapsed() < BEAT {
            return Ok(());
        }
        match self.save().await {
            // A server that is away hears of it later.
            Err(Trouble::Passing(_)) => Ok(()),
            other => other,
        }
    }

    /// Writes the record. Refused when it is somebody else's by now.
    pub(crate) async fn save(&mut self) -> Step {
        self.record.heartbeat = now();
        for _ in 0..TRIES {
            self.record.beat += 1;
            if let Written::As(version) = self.store.save(&self.record, self.version).await? {
                self.version = version;
                self.beaten = Instant::now();
                return Ok(());
            }
            // Perhaps by ourselves: the answer of an earlier try was lost.
            let (found, version) = self.store.load(&self.record.path).await?;
            if !found.is_some_and(|found| self.is_mine(&found)) {
                break;
            }
            self.version = version;
        }
        Err(Trouble::Lost(anyhow!(
            "somebody else has taken the rotation over: holdfast rotate show {}",
            self.record.path
        )))
    }

    /// Whether a record was written by this process. One that is let go names nobody.
    fn is_mine(&self, found: &Record) -> bool {
        let (found_owner, own) = (found.owner.as_ref(), self.record.owner.as_ref());
        let let_go = found_owner.is_none() && own.is_none() && found.phase == self.record.phase;
        found.id == self.record.id && (found_owner == Some(&self.owner) || let_go)
    }

    fn patience(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Deliver | Phase::Acknowledge | Phase::Inform => self.timeout(),
            Phase::Prepare => self.timeout().min(AWAY / 2),
            Phase::Verify => AWAY + Duration::from_secs(self.record.plan.drain),
            _ => AWAY,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.record.plan.timeout)
    }

    /// Whether anybody still works with the credential that the way back is to end.
    fn holds_new(&self) -> bool {
        let new = self.record.new.version;
        self.record.stragglers.iter().any(|one| one.version.is_some() && one.version == new)
    }

    fn describe(&self, phase: Phase) -> String {
        let record = &self.record;
        let name = |credential: &super::record::Credential| {
            credential.username.clone().unwrap_or_else(|| "the value".to_owned())
        };
        match phase {
            Phase::Prepare => format!("stage a new credential for {}", record.path),
            Phase::Alter => format!("make the new credential of {} valid", name(&record.new)),
            Phase::Write => format!("write {}", record.path),
            Phase::Deliver => format!("wait for {} agents to deliver it", record.agents.len()),
            Phase::Acknowledge => "wait for consumers to take it up".to_owned(),
            Phase::Verify => "see that it works, and that nobody uses the old one".to_owned(),
            Phase::Retire => format!("end the old credential of {}", name(&record.old)),
            Phase::Reinstate => format!("make the old credential of {} valid", name(&record.old)),
            Phase::Restore => format!("write the old value of {} back", record.path),
            Phase::Inform => "wait for consumers to take the old one up again".to_owned(),
            Phase::Invalidate => format!("end the new credential of {}", name(&record.new)),
            Phase::Done | Phase::RolledBack => String::new(),
        }
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
