//! The agent's token: one place gets it, keeps it alive, and tells everybody of a new one.
//!
//! [`lifecycle`] decides, without doing anything, when to log in, renew and look up; the keeper does
//! it. Nobody else renews or revokes this token, so its clock has one owner. Everybody else holds a
//! [`Session`], and through it the [`State`] of the moment.

mod keeper;
mod lifecycle;

pub use keeper::Keeper;
pub(crate) use keeper::{Authority, Granted, is_refusal};
pub(crate) use lifecycle::Rules;

use std::time::Duration;

use holdfast_client::vault::VaultClient;
use holdfast_types::{SecretString, Timestamp};
use tokio::sync::{mpsc, watch};

/// A login that stands.
#[derive(Debug, Clone)]
pub struct Login {
    /// Counts the logins of this process, from 1. A renewed token keeps its number.
    pub generation: u64,
    /// A client that carries the token.
    pub client: VaultClient,
    /// Names the token without being it; empty for a batch token.
    pub accessor: String,
    /// When the token ends, as far as is known now; none for a token without an end.
    pub expires: Option<Timestamp>,
}

/// What the agent holds at the moment.
#[derive(Debug, Clone, Default)]
pub enum State {
    /// No token: not yet, or no longer.
    #[default]
    LoggedOut,
    /// A token.
    LoggedIn(Login),
    /// A token that only the one reader of its sink can unwrap: `auto_auth.method.wrap_ttl`.
    Wrapped {
        /// As in [`Login::generation`].
        generation: u64,
        /// The server's `wrap_info`, as JSON.
        wrap_info: SecretString,
    },
}

/// How long a token lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// From now on; none for a token without an end.
    pub(crate) ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub(crate) renewable: bool,
}

impl Life {
    /// As the API gives it: 0 seconds for a token without an end.
    pub(crate) fn new(seconds: u64, renewable: bool) -> Self {
        Self { ttl: (seconds > 0).then(|| Duration::from_secs(seconds)), renewable }
    }
}

impl State {
    /// The login, where there is one that this process can use.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Self::LoggedIn(login) => Some(login),
            _ => None,
        }
    }
}

/// A handle on the agent's token. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    states: watch::Receiver<State>,
    doubts: mpsc::Sender<u64>,
}

impl Session {
    /// The states from now on; the present one is the first.
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// The login of the moment.
    pub fn current(&self) -> Option<Login> {
        self.states.borrow().login().cloned()
    }

    /// Waits for a login. None once the session has ended.
    pub async fn login(&self) -> Option<Login> {
        let mut states = self.states.clone();
        let state = states.wait_for(|state| state.login().is_some()).await.ok()?;
        state.login().cloned()
    }

    /// Says that a request with the token of this login was refused, so that it may be dead. The
    /// keeper looks, and logs in anew where that is so; several doubts cost one look.
    pub fn doubt(&self, generation: u64) {
        // A full queue holds doubts enough.
        let _ = self.doubts.try_send(generation);
    }

    /// A session that stands still in one state, for whoever has a token already.
    pub fn fixed(state: State) -> Self {
        let (_, states) = watch::channel(state);
        let (doubts, _) = mpsc::channel(1);
        Self { states, doubts }
    }
}
