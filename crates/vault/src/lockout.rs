//! Names that have failed to log in too often, and may not try for a while.
//!
//! Kept in memory alone: a restart forgets them. Only names that exist are counted, which the
//! login method tells by [`Error::Credentials`](holdfast_logical::Error), so that whoever guesses
//! names cannot fill the table.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_logical::{Error, Fields, Request};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::core::answer::Answer;
use crate::core::vault::Vault;
use crate::mounts::Mount;

/// Login methods with names to guess a secret for.
const METHODS: [&str; 2] = ["approle", "userpass"];

const DEFAULT_THRESHOLD: u64 = 5;
const DEFAULT_DURATION: Duration = Duration::from_secs(15 * 60);
const DEFAULT_COUNTER_RESET: Duration = Duration::from_secs(15 * 60);

/// The mount's `user_lockout_config`. Zero means "not set".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LockoutConfig {
    threshold: u64,
    duration: Duration,
    counter_reset: Duration,
    disable: bool,
}

impl LockoutConfig {
    /// Takes over the `user_lockout_config` of a request to tune a mount of the type `kind`.
    ///
    /// # Errors
    /// 400 in OpenBao's words.
    pub(crate) fn tune(
        current: &mut Option<Self>,
        kind: &str,
        fields: Fields<'_>,
    ) -> Result<(), Error> {
        let Some(given) = fields.object("user_lockout_config").map_err(Error::field_validation)?
        else {
            return Ok(());
        };
        if given.is_empty() {
            return Ok(());
        }
        if !METHODS.contains(&kind) {
            return Err(Error::invalid(format!(
                "tuning of user lockout configuration for auth type {kind:?} not allowed"
            )));
        }
        let given = Fields::new(given);
        let config = current.get_or_insert_default();
        if let Some(text) = given.string("lockout_threshold")? {
            config.threshold = text.parse().map_err(|_| {
                Error::invalid(format!(
                    "unable to parse user lockout threshold: strconv.ParseUint: parsing {text:?}: \
                     invalid syntax"
                ))
            })?;
        }
        for (name, target) in [
            ("lockout_duration", &mut config.duration),
            ("lockout_counter_reset_duration", &mut config.counter_reset),
        ] {
            let parsed = given.duration(name).map_err(|error| {
                let words = error.to_string();
                let prefix = format!("error converting input for field {name:?}: ");
                Error::invalid(words.strip_prefix(&prefix).unwrap_or(&words))
            })?;
            *target = parsed.unwrap_or(*target);
        }
        if let Some(disable) = given.bool("lockout_disable")? {
            config.disable = disable;
        }
        Ok(())
    }

    /// As a mount shows it.
    pub(crate) fn print(&self) -> Map<String, Value> {
        Map::from_iter([
            ("user_lockout_counter_reset_duration".to_owned(), json!(self.counter_reset.as_secs())),
            ("user_lockout_disable".to_owned(), json!(self.disable)),
            ("user_lockout_duration".to_owned(), json!(self.duration.as_secs())),
            ("user_lockout_threshold".to_owned(), json!(self.threshold)),
        ])
    }
}

/// The rules of one mount, complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockoutRules {
    threshold: u64,
    duration: Duration,
    counter_reset: Duration,
}

impl LockoutRules {
    /// The rules of a mount; none where names are never locked.
    pub(crate) fn of(kind: &str, config: Option<&LockoutConfig>) -> Option<Self> {
        let config = config.cloned().unwrap_or_default();
        let or = |set: Duration, default| if set.is_zero() { default } else { set };
        (METHODS.contains(&kind) && !config.disable).then(|| Self {
            threshold: if config.threshold == 0 { DEFAULT_THRESHOLD } else { config.threshold },
            duration: or(config.duration, DEFAULT_DURATION),
            counter_reset: or(config.counter_reset, DEFAULT_COUNTER_RESET),
        })
    }
}

/// Whose failures are counted: the mount's accessor and the name there.
type Name = (String, String);

/// A login with a secret that could be guessed.
pub(crate) struct Attempt<'v> {
    vault: &'v Vault,
    accessor: String,
    name: String,
    rules: LockoutRules,
}

impl<'v> Attempt<'v> {
    /// The attempt that `request` is, if it is one that counts.
    pub(crate) fn of(vault: &'v Vault, mount: &Mount, request: &Request) -> Option<Self> {
        let entry = &mount.entry;
        let rules = LockoutRules::of(&entry.kind, entry.config.user_lockout.as_ref())?;
        let name = mount.backend()?.login_name(request)?;
        Some(Self { vault, accessor: entry.accessor.clone(), name, rules })
    }

    /// Whether the name may try at all.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        match self.vault.lockouts.is_locked(&self.accessor, &self.name, self.vault.clock.now()) {
            true => Err(Error::Denied.because(
                "the name is locked: too many logins with a wrong secret",
                "wait until the lock ends, or unlock it below sys/locked-users/",
            )),
            false => Ok(()),
        }
    }

    /// Notes what came of it, and gives what is told of it: of attempts that ran at once, those
    /// that end when the name is locked already learn no more than those that come later.
    ///
    /// # Errors
    /// The answer's own; 403.
    pub(crate) fn answered(&self, answer: Result<Answer, Error>) -> Result<Answer, Error> {
        self.admit()?;
        let Self { vault, accessor, name, rules } = self;
        match &answer {
            Err(error) if matches!(error.told(), Error::Credentials(_)) => {
                vault.lockouts.failed(accessor, name, *rules, vault.clock.now());
            }
            Err(_) => {}
            Ok(_) => vault.lockouts.forget(accessor, name),
        }
        answer
    }
}

/// The failures of all mounts.
#[derive(Debug, Default)]
pub(crate) struct Lockouts(Mutex<HashMap<Name, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u64,
    last: Timestamp,
    rules: LockoutRules,
}

impl Failures {
    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.last)).unwrap_or_default()
    }

    fn is_locked(&self, now: Timestamp) -> bool {
        self.count >= self.rules.threshold && self.age(now) < self.rules.duration
    }

    /// Whether they still matter.
    fn counts(&self, now: Timestamp) -> bool {
        match self.count >= self.rules.threshold {
            true => self.age(now) < self.rules.duration,
            false => self.age(now) < self.rules.counter_reset,
        }
    }
}

impl Lockouts {
    /// Whether `name` may not even try.
    pub(crate) fn is_locked(&self, accessor: &str, name: &str, now: Timestamp) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = names.get(&(accessor.to_owned(), name.to_owned()));
        failures.is_some_and(|failures| failures.is_locked(now))
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, accessor: &str, name: &str, rules: LockoutRules, now: Timestamp) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (accessor.to_owned(), name.to_owned());
        let before = names.get(&key).filter(|failures| failures.counts(now));
        let count = before.map_or(0, |failures| failures.count).saturating_add(1);
        names.insert(key, Failures { count, last: now, rules });
    }

    /// Forgets the failures of a name, after a login or by an operator.
    pub(crate) fn forget(&self, accessor: &str, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&(accessor.to_owned(), name.to_owned()));
    }

    /// Forgets what no longer matters.
    pub(crate) fn tidy(&self, now: Timestamp) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, failures| failures.counts(now));
    }

    /// The locked names of each mount, sorted.
    pub(crate) fn locked(&self, now: Timestamp) -> BTreeMap<String, Vec<String>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locked: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((accessor, name), failures) in &*names {
            if failures.is_locked(now) {
                locked.entry(accessor.clone()).or_default().push(name.clone());
            }
        }
        locked.values_mut().for_each(|names| names.sort_unstable());
        locked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(config: Value) -> LockoutRules {
        let data = Map::from_iter([("user_lockout_config".to_owned(), config)]);
        let mut tuned = None;
        LockoutConfig::tune(&mut tuned, "userpass", Fields::new(&data)).unwrap();
        LockoutRules::of("userpass", tuned.as_ref()).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_name_is_locked_after_so_many_failures_and_for_so_long() {
        let lockouts = Lockouts::default();
        let rules = rules(json!({ "lockout_threshold": "3", "lockout_duration": 60 }));
        for second in 0..3 {
            assert!(!lockouts.is_locked("m", "bob", at(second)));
            lockouts.failed("m", "bob", rules, at(second));
        }
        for (accessor, name, second, want) in [
            ("m", "bob", 2, true),
            ("m", "bob", 61, true),
            ("m", "bob", 62, false),
            ("m", "eve", 2, false),
            ("n", "bob", 2, false),
        ] {
            assert_eq!(lockouts.is_locked(accessor, name, at(second)), want, "{name} {second}");
        }
        assert_eq!(lockouts.locked(at(2)), [("m".to_owned(), vec!["bob".to_owned()])].into());
        // What comes after is counted from the start.
        lockouts.failed("m", "bob", rules, at(62));
        assert!(!lockouts.is_locked("m", "bob", at(62)));
    }

    #[tokio::test]
    async fn guesses_at_once_are_no_more_than_guesses_one_by_one() {
        let vault = crate::testing::Server::new().await.core.vault();
        let rules = rules(json!({ "lockout_threshold": 3 }));
        let begin = || Attempt { vault: &vault, accessor: "m".into(), name: "bob".into(), rules };
        let attempts: Vec<_> = (0..5).map(|_| begin()).collect();
        assert!(attempts.iter().all(|attempt| attempt.admit().is_ok()));
        let wrong = || Err(Error::Credentials("wrong".to_owned()));
        let told = |answer: Result<Answer, Error>| match answer.map(drop) {
            Ok(()) => "token".to_owned(),
            Err(error) => error.told().to_string(),
        };
        for (attempt, answer, want) in [
            (&attempts[0], wrong(), "wrong"),
            (&attempts[1], wrong(), "wrong"),
            (&attempts[2], wrong(), "wrong"),
            (&attempts[3], wrong(), "permission denied"),
            (&attempts[4], Ok(Answer::none()), "permission denied"),
        ] {
            assert_eq!(told(attempt.answered(answer)), want);
        }
        assert!(begin().admit().is_err());
    }

    #[test]
    fn failures_are_forgotten_by_time_by_a_login_and_by_hand() {
        let lockouts = Lockouts::default();
        let rules =
            rules(json!({ "lockout_threshold": 2, "lockout_counter_reset_duration": "10s" }));
        lockouts.failed("m", "bob", rules, at(0));
        lockouts.failed("m", "bob", rules, at(10));
        assert!(!lockouts.is_locked("m", "bob", at(10)), "the first is too old");
        lockouts.forget("m", "bob");
        lockouts.failed("m", "bob", rules, at(11));
        assert!(!lockouts.is_locked("m", "bob", at(11)));
        lockouts.tidy(at(22));
        assert!(lockouts.0.lock().unwrap().is_empty());
    }

    #[test]
    fn other_methods_lock_nobody() {
        assert_eq!(LockoutRules::of("jwt", None), None);
        let data = json!({ "user_lockout_config": { "lockout_threshold": 2 } });
        let fields = Fields::new(data.as_object().unwrap());
        LockoutConfig::tune(&mut None, "jwt", fields).unwrap_err();
        let off = LockoutConfig { disable: true, ..LockoutConfig::default() };
        assert_eq!(LockoutRules::of("userpass", Some(&off)), None);
    }
}
