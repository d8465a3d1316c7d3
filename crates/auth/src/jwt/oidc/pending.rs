//! Logins that wait for the issuer to send its user back.
//!
//! Kept in memory alone: they live for minutes, and a restart costs nobody more than a second try.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_types::{Random, SecretString, Timestamp};

/// OpenBao's.
const LIFE: Duration = Duration::from_secs(600);
/// Anybody can begin a login: beyond this the oldest make room.
const MOST: usize = 16_384;
/// 119 bits.
const LETTERS: usize = 20;
/// 256 bits; RFC 7636 wants 43 characters at least.
const VERIFIER_LETTERS: usize = 43;

/// A login that has begun.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// The role's name in lower case.
    pub(super) role: String,
    pub(super) redirect_uri: String,
    /// What the issuer's token must carry, so that it was made for this login.
    pub(super) nonce: String,
    /// The secret of RFC 7636: only who began a login can end it at the issuer.
    pub(super) verifier: SecretString,
    /// What the client must bring again to have the token.
    pub(super) client_nonce: String,
    begun: Timestamp,
}

/// All that wait, by their states.
#[derive(Debug, Default)]
pub(in crate::jwt) struct PendingLogins(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    logins: HashMap<String, Pending>,
    /// The states in the order in which they began.
    order: VecDeque<String>,
}

impl PendingLogins {
    /// Begins a login. Returns its state, by which it is found again.
    pub(super) fn begin(
        &self,
        role: &str,
        redirect_uri: &str,
        client_nonce: String,
        now: Timestamp,
        random: &dyn Random,
    ) -> (String, Pending) {
        let state = format!("st_{}", random.base62(LETTERS));
        let pending = Pending {
            role: role.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            nonce: format!("n_{}", random.base62(LETTERS)),
            verifier: SecretString::new(random.base62(VERIFIER_LETTERS)),
            client_nonce,
            begun: now,
        };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { logins, order } = &mut *waiting;
        while let Some(oldest) = order.front() {
            let is_over = logins.get(oldest).is_none_or(|pending| !pending.is_alive(now));
            if !is_over && order.len() < MOST {
                break;
            }
            logins.remove(oldest);
            order.pop_front();
        }
        logins.insert(state.clone(), pending.clone());
        order.push_back(state.clone());
        (state, pending)
    }

    /// Takes the login of `state`, which can be ended once.
    pub(super) fn take(&self, state: &str, now: Timestamp) -> Option<Pending> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.logins.remove(state).filter(|pending| pending.is_alive(now))
    }
}

impl Pending {
    fn is_alive(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.begun)).is_ok_and(|age| age < LIFE)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn begin(logins: &PendingLogins, second: i64) -> String {
        logins.begin("r", "https://ui", String::new(), at(second), &SystemRandom).0
    }

    #[test]
    fn a_login_is_ended_once_and_in_time() {
        let logins = PendingLogins::default();
        let (first, second) = (begin(&logins, 0), begin(&logins, 0));
        assert_eq!(logins.take(&first, at(599)).unwrap().role, "r");
        assert!(logins.take(&first, at(599)).is_none());
        assert!(logins.take(&second, at(600)).is_none());
        assert!(logins.take("st_none", at(0)).is_none());
    }

    #[test]
    fn there_are_never_too_many() {
        let logins = PendingLogins::default();
        let first = begin(&logins, 0);
        for _ in 0..MOST {
            begin(&logins, 1);
        }
        assert!(logins.take(&first, at(1)).is_none(), "the oldest made room");
        assert_eq!(logins.0.lock().unwrap().logins.len(), MOST);
        begin(&logins, 601);
        assert_eq!(logins.0.lock().unwrap().logins.len(), 1);
        assert_eq!(logins.0.lock().unwrap().order.len(), 1);
    }
}
