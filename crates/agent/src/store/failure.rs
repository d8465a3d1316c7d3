//! Why a secret is not to be had, in words that may be shown.

use std::time::Duration;

use holdfast_client::vault::VaultError;

/// A failed request. Neither tokens nor values are ever part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Told apart as far as waiting differs.
    pub kind: FailureKind,
    /// What the server or the connection says.
    pub message: String,
    /// By which `holdfast why` tells an operator more.
    pub explain: Option<String>,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The server cannot be reached, is sealed, or is overloaded: it passes by itself.
    Away,
    /// The token may not, or has ended.
    Denied,
    /// Nothing is there.
    Absent,
    /// The server refuses it as it stands.
    Refused,
}

impl Failure {
    /// Nothing is at `path`.
    pub fn absent(path: &str) -> Self {
        let message = format!("there is no secret at {path}");
        Self { kind: FailureKind::Absent, message, explain: None }
    }

    /// The failure that a client tells of.
    pub fn of(error: &VaultError, explain: Option<String>) -> Self {
        let kind = match (error, error.status()) {
            (VaultError::Unreachable { .. } | VaultError::Sealed(_), _)
            | (VaultError::Uninitialised(_), _)
            | (_, Some(412 | 429 | 500..)) => FailureKind::Away,
            (VaultError::Denied(_), _) => FailureKind::Denied,
            (VaultError::NotFound(_), _) => FailureKind::Absent,
            _ => FailureKind::Refused,
        };
        let mut message = error.to_string();
        if let Some(failure) = error.failure()
            && !matches!(error, VaultError::Denied(_))
        {
            for said in &failure.errors {
                message.push_str(": ");
                message.push_str(said.trim());
            }
        }
        Self { kind, message, explain }
    }

    /// The bounds of the wait before the next try, after `attempts` failed ones: it is drawn
    /// between them, so that many agents do not come back at once, and never at once.
    pub(super) fn wait(&self, attempts: u32, longest: Duration) -> (Duration, Duration) {
        let (first, cap) = match self.kind {
            FailureKind::Away => (Duration::from_millis(250), Duration::from_secs(30)),
            // Somebody has to change something first.
            FailureKind::Denied | FailureKind::Refused | FailureKind::Absent => {
                (Duration::from_secs(1), Duration::from_secs(60))
            }
        };
        let doubled = first.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        (first / 4, doubled.min(cap).min(longest.max(first)))
    }
}
