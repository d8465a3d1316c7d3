//! `static-roles/<name>`: users that are there already, whose password this engine changes.

use std::time::Duration;

use holdfast_logical::{Error, Request, Response};
use holdfast_types::{SecretString, Timestamp, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::statement_list;
use super::role::{check_credential_type, password_policy};
use super::schedule::Schedule;
use super::statements::misplaced_password;

/// No password changes more often.
const SHORTEST_PERIOD: Duration = Duration::from_secs(5);
/// No window is shorter: what did not work at once needs time for another try.
const SHORTEST_WINDOW: Duration = Duration::from_secs(3600);
/// The wait after the first failure. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// When a password changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rotation {
    /// So long after the last time.
    Period(Duration),
    /// At the times of a schedule.
    Schedule {
        schedule: Schedule,
        /// A change that fails is tried again for so long; then the next time is waited for. None:
        /// until it works.
        window: Option<Duration>,
    },
}

/// A static role as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    pub(crate) db_name: String,
    pub(crate) username: String,
    pub(crate) rotation: Rotation,
    pub(crate) rotation_statements: Vec<String>,
    /// Empty: the config's.
    pub(crate) password_policy: String,
    /// The password that the database knows, once `rotated_at` is set.
    pub(crate) password: SecretString,
    /// When it was last changed. None: the role is being made.
    pub(crate) rotated_at: Option<Timestamp>,
    /// When it is to be changed next.
    pub(crate) scheduled_at: Timestamp,
    /// When that is tried: then, or later where it has failed.
    pub(crate) due_at: Timestamp,
    /// How often it has failed since it last worked.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Why it last failed.
    #[serde(default)]
    pub(crate) problem: String,
}

impl StaticRole {
    /// What `request` makes of the role that is there, if one is.
    pub(crate) fn written(
        old: Option<Self>,
        request: &Request,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let fields = request.fields();
        let username = fields.string("username")?.unwrap_or_default();
        let db_name = fields.string("db_name")?;
        let known = old.as_ref().map(|old| old.db_name.clone());
        let db_name = db_name.or(known).filter(|name| !name.is_empty());
        let db_name = db_name.ok_or_else(|| Error::invalid("database name is a required field"))?;
        match &old {
            None if username.is_empty() => {
                return Err(Error::invalid(
                    "username is a required field to create a static account",
                ));
            }
            Some(old) if old.username != username => {
                return Err(Error::invalid("cannot update static account username"));
            }
            _ => {}
        }
        let given = rotation(old.as_ref().map(|old| &old.rotation), request)?;
        let statements = statement_list(fields, "rotation_statements")?;
        for statement in statements.iter().flatten() {
            if let Some(problem) = misplaced_password(statement) {
                return Err(Error::invalid(format!("rotation_statements: {problem}")));
            }
        }
        check_credential_type(fields)?;
        let policy = password_policy(fields)?;
        let mut role = old.unwrap_or_else(|| Self {
            db_name: String::new(),
            username,
            rotation: given.clone(),
            rotation_statements: Vec::new(),
            password_policy: String::new(),
            password: SecretString::new(String::new()),
            rotated_at: None,
            scheduled_at: now,
            due_at: now,
            failures: 0,
            problem: String::new(),
        });
        role.db_name = db_name;
        role.rotation_statements = statements.unwrap_or(role.rotation_statements);
        role.password_policy = policy.unwrap_or(role.password_policy);
        if let Some(rotated_at) = role.rotated_at {
            if role.rotation != given {
                role.rotation = given;
                role.scheduled_at = role.rotation.next(rotated_at, now);
            }
            // What failed before may work now.
            role.due_at = role.scheduled_at;
            role.failures = 0;
            role.problem.clear();
        }
        Ok(role)
    }

    /// The same with a password that the database knows since `now`.
    pub(crate) fn rotated(mut self, password: SecretString, now: Timestamp) -> Self {
        self.password = password;
        self.rotated_at = Some(now);
        self.scheduled_at = self.rotation.next(now, now);
        self.due_at = self.scheduled_at;
        self.failures = 0;
        self.problem.clear();
        self
    }

    /// The same after a change that failed: when the next try is due, and why there is one.
    pub(crate) fn failed(mut self, problem: String, now: Timestamp) -> Self {
        self.due_at = after(now, wait(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.problem = problem;
        if self.rotation.gives_up(self.scheduled_at, self.due_at) {
            self = self.skipped(now);
        }
        self
    }

    /// Whether its window closed while nobody tried.
    pub(crate) fn is_missed(&self, now: Timestamp) -> bool {
        self.rotation.gives_up(self.scheduled_at, now)
    }

    /// The same with this time left out.
    pub(crate) fn skipped(mut self, now: Timestamp) -> Self {
        self.scheduled_at = self.rotation.next(now, now);
        self.due_at = self.scheduled_at;
        self
    }

    /// What whoever reads the role or its password is told when the last change failed.
    pub(crate) fn warning(&self) -> Option<String> {
        let times = match self.failures {
            0 => return None,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let (problem, due) = (&self.problem, self.due_at);
        Some(format!(
            "the password could not be rotated, and is the one from before: tried {times}, the \
             next try is at {due}: {problem}"
        ))
    }

    /// The answer to a read.
    pub(crate) fn response(&self) -> Response {
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("db_name", json!(self.db_name));
        set("username", json!(self.username));
        set("credential_type", json!("password"));
        set("rotation_statements", json!(self.rotation_statements));
        if !self.password_policy.is_empty() {
            set("credential_config", json!({ "password_policy": self.password_policy }));
        }
        self.set_rotation(&mut data);
        self.answer(data)
    }

    /// The answer to a read of its password.
    pub(crate) fn credentials(&self, now: Timestamp) -> Response {
        let left = Duration::try_from(self.scheduled_at.duration_since(now)).unwrap_or_default();
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("username", json!(self.username));
        set("password", json!(self.password.expose()));
        set("ttl", json!((left + Duration::from_millis(500)).as_secs()));
        self.set_rotation(&mut data);
        self.answer(data)
    }

    fn set_rotation(&self, data: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        match &self.rotation {
            Rotation::Period(period) => {
                set("rotation_period", json!(period.as_secs()));
            }
            Rotation::Schedule { schedule, window } => {
                set("rotation_schedule", json!(schedule.to_string()));
                if let Some(window) = window {
                    set("rotation_window", json!(window.as_secs()));
                }
            }
        }
        if let Some(at) = self.rotated_at {
            set("last_vault_rotation", json!(rfc3339(at)));
        }
    }

    fn answer(&self, data: Map<String, Value>) -> Response {
        let response = Response { data: Some(data), ..Response::default() };
        match self.warning() {
            Some(warning) => response.warn(warning),
            None => response,
        }
    }
}

impl Rotation {
    /// The time after a change at `rotated_at`. It is in the past where a period was cut short.
    fn next(&self, rotated_at: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::Period(period) => after(rotated_at, *period),
            Self::Schedule { schedule, .. } => schedule.next(now).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whether a change that was to be at `scheduled_at` is not tried any more at `at`.
    fn gives_up(&self, scheduled_at: Timestamp, at: Timestamp) -> bool {
        match self {
            Self::Schedule { window: Some(window), .. } => after(scheduled_at, *window) < at,
            _ => false,
        }
    }
}

/// How long after a failure that has `before` it.
fn wait(before: u32) -> Duration {
    let doubled = 1_u32.checked_shl(before).filter(|factor| *factor > 0);
    FIRST_WAIT.saturating_mul(doubled.unwrap_or(u32::MAX)).min(LONGEST_WAIT)
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// When the password is to change: as the request says, else as it was.
fn rotation(old: Option<&Rotation>, request: &Request) -> Result<Rotation, Error> {
    let fields = request.fields();
    let period = fields.duration("rotation_period")?;
    let schedule = fields.string("rotation_schedule")?.filter(|text| !text.is_empty());
    let window = fields.duration("rotation_window")?.filter(|window| !window.is_zero());
    if window.is_some_and(|window| window < SHORTEST_WINDOW) {
        let seconds = SHORTEST_WINDOW.as_secs();
        return Err(Error::invalid(format!("rotation_window must be {seconds} seconds or more")));
    }
    let without_window = |rotation| match window {
        Some(_) => Err(Error::invalid("rotation_window is invalid with use of rotation_period")),
        None => Ok(rotation),
    };
    match (period, schedule, old) {
        (Some(_), Some(_), _) => Err(Error::invalid(
            "mutually exclusive fields rotation_period and rotation_schedule were both specified; \
             only one of them can be provided",
        )),
        (Some(period), None, _) if period < SHORTEST_PERIOD => {
            let seconds = SHORTEST_PERIOD.as_secs();
            Err(Error::invalid(format!("rotation_period must be {seconds} seconds or more")))
        }
        (Some(period), None, _) => without_window(Rotation::Period(period)),
        (None, Some(text), old) => {
            let schedule = Schedule::parse(&text).map_err(|error| {
                Error::invalid(format!("could not parse rotation_schedule: {error}"))
            })?;
            let window = window.or(match old {
                Some(Rotation::Schedule { window, .. }) => *window,
                _ => None,
            });
            Ok(Rotation::Schedule { schedule, window })
        }
        (None, None, Some(Rotation::Schedule { schedule, window: old })) => {
            let window = if fields.has("rotation_window") { window } else { *old };
            Ok(Rotation::Schedule { schedule: schedule.clone(), window })
        }
        (None, None, Some(old)) => without_window(old.clone()),
        (None, None, None) => {
            Err(Error::invalid("rotation_period is required to create static accounts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn role(rotation: Rotation, now: Timestamp) -> StaticRole {
        let role = StaticRole {
            db_name: "pg".to_owned(),
            username: "u".to_owned(),
            rotation,
            rotation_statements: Vec::new(),
            password_policy: String::new(),
            password: SecretString::new(String::new()),
            rotated_at: None,
            scheduled_at: now,
            due_at: now,
            failures: 0,
            problem: String::new(),
        };
        role.rotated(SecretString::new("p".to_owned()), now)
    }

    fn nightly(window: Option<u64>) -> Rotation {
        let schedule = Schedule::parse("0 3 * * *").unwrap();
        Rotation::Schedule { schedule, window: window.map(Duration::from_secs) }
    }

    #[test]
    fn tries_wait_longer_each_time_and_not_for_ever() {
        let waits: Vec<u64> = (0..8).map(|failures| wait(failures).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
        let now = at("2026-11-22T12:00:00Z");
        let failed = role(Rotation::Period(Duration::from_secs(60)), now).failed("x".into(), now);
        assert_eq!(failed.due_at, at("2026-11-22T12:00:10Z"));
        assert_eq!(failed.scheduled_at, at("2026-11-22T12:01:00Z"));
        assert!(failed.warning().unwrap().contains("tried once"));
        let worked = failed.rotated(SecretString::new("q".to_owned()), now);
        assert_eq!((worked.warning(), worked.due_at), (None, at("2026-11-22T12:01:00Z")));
    }

    #[test]
    fn a_window_that_closes_leaves_the_change_to_the_next_time() {
        let role = role(nightly(Some(3600)), at("2026-11-22T12:00:00Z"));
        assert_eq!(role.due_at, at("2026-11-23T03:00:00Z"));
        assert!(!role.is_missed(at("2026-11-23T04:00:00Z")));
        assert!(role.is_missed(at("2026-11-23T04:00:01Z")));
        let failed = role.clone().failed("x".into(), at("2026-11-23T03:00:00Z"));
        assert_eq!(failed.due_at, at("2026-11-23T03:00:10Z"));
        let late = failed.failed("x".into(), at("2026-11-23T03:59:50Z"));
        assert_eq!(late.due_at, at("2026-11-24T03:00:00Z"));
        assert!(late.warning().is_some(), "and says so");
        assert_eq!(role.skipped(at("2026-11-23T09:00:00Z")).due_at, at("2026-11-24T03:00:00Z"));
    }

    /// Two users, each changed every second month: one of them always has a password that was
    /// good for a month already and will be for another.
    #[test]
    fn two_schedules_a_month_apart_keep_one_password_good() {
        let months = |months: &str| {
            let schedule = Schedule::parse(&format!("0 4 1 {months} *")).unwrap();
            Rotation::Schedule { schedule, window: None }
        };
        let mut now = at("2026-11-22T12:00:00Z");
        let mut pair = [role(months("*/2"), now), role(months("2-12/2"), now)];
        let mut turns = Vec::new();
        for _ in 0..12 {
            let next = usize::from(pair[1].due_at < pair[0].due_at);
            let other = &pair[1 - next];
            now = pair[next].due_at;
            let left = other.due_at.duration_since(now).as_secs();
            assert!(left >= 27 * 86_400, "{now}: the other is good until {}", other.due_at);
            pair[next] = pair[next].clone().rotated(SecretString::new("n".to_owned()), now);
            turns.push(next);
        }
        assert_eq!(turns, [1, 0].repeat(6));
    }
}
