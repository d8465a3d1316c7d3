//! Why a step did not succeed, told apart by what to do about it.

use holdfast_client::vault::VaultError;

/// Why a step did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may pass by itself: a server that starts, a consumer that is being told. Repeated.
    Passing(anyhow::Error),
    /// It does not pass by itself.
    Failed(anyhow::Error),
    /// The rotation is somebody else's by now. Nothing more is done.
    Lost(anyhow::Error),
}

/// What a step gives.
pub(crate) type Step<T = ()> = Result<T, Trouble>;

impl Trouble {
    /// A failure in words.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(text.into()))
    }

    /// Something to wait for, in words.
    pub(crate) fn passing(text: impl Into<String>) -> Self {
        Self::Passing(anyhow::Error::msg(text.into()))
    }

    /// The same trouble, with what was being done.
    pub(crate) fn doing(self, what: impl Into<String>) -> Self {
        let what = what.into();
        match self {
            Self::Passing(error) => Self::Passing(error.context(what)),
            Self::Failed(error) => Self::Failed(error.context(what)),
            Self::Lost(error) => Self::Lost(error.context(what)),
        }
    }

    /// The error, whatever is to be done about it.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Passing(error) | Self::Failed(error) | Self::Lost(error) => error,
        }
    }
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        let passes = match &error {
            VaultError::Unreachable { cause, .. } => cause.may_pass(),
            VaultError::Sealed(_) => true,
            error => {
                error.status().is_some_and(|status| status >= 500 || [412, 429].contains(&status))
            }
        };
        let error = anyhow::Error::new(error);
        if passes { Self::Passing(error) } else { Self::Failed(error) }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::vault::ApiFailure;

    use super::*;

    #[test]
    fn servers_that_start_are_waited_for_and_refusals_are_not() {
        for (status, passes) in [(500, true), (503, true), (429, true), (412, true), (400, false)] {
            let failure = ApiFailure {
                method: "PUT".into(),
                url: String::new(),
                status,
                errors: Vec::new(),
                raw: false,
            };
            let trouble = Trouble::from(VaultError::Api(Box::new(failure)));
            assert_eq!(matches!(trouble, Trouble::Passing(_)), passes, "{status}");
        }
    }
}
