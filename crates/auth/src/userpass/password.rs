//! Passwords, hashed and verified with bcrypt.
//!
//! Each takes tens of milliseconds of a processor on purpose, so that they run beside the requests,
//! a few at a time, and whoever would wait behind too many others is told to come back.

use std::thread::available_parallelism;

use holdfast_logical::{Error, Fields};
use holdfast_types::{Random, SecretString};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// OpenBao's: 2^10 rounds.
const COST: u32 = 10;
/// What a hash that the operator brings may cost.
const LEAST_COST: u32 = 5;
/// Each login, which needs no token, costs so much of a processor.
const MOST_COST: u32 = 12;
/// bcrypt itself knows no more.
const END_OF_COSTS: u32 = 31;
/// bcrypt looks at no more of a password. A longer one is refused when it is set.
const MAX_LENGTH: usize = 72;
/// The length of a hash in its usual form.
const HASH_LENGTH: usize = 60;
/// How many logins may wait for a processor.
const MOST_WAITING: usize = 256;
/// No password has this hash: its salt was drawn, its digest is all zeros.
const NOBODY: &str = "$2b$10$q5cX0ZoVxvS9Q2mJHt4pMe...............................";

/// What a request says of a password.
pub(super) enum Given {
    Password(SecretString),
    Hash(SecretString),
}

/// The password, or its hash, in a request. None: neither, or empty.
///
/// # Errors
/// 400: both, or a hash that is none.
pub(super) fn given(fields: Fields<'_>) -> Result<Option<Given>, Error> {
    let secret = |name| -> Result<Option<SecretString>, Error> {
        let text = fields.string(name)?.map(SecretString::new);
        Ok(text.filter(|text| !text.expose().is_empty()))
    };
    match (secret("password")?, secret("password_hash")?) {
        (Some(_), Some(_)) => {
            Err(Error::invalid("only one of password or password_hash may be provided"))
        }
        (Some(password), None) if password.expose().len() > MAX_LENGTH => {
            Err(Error::invalid(format!("bcrypt: password length exceeds {MAX_LENGTH} bytes")))
        }
        (Some(password), None) => Ok(Some(Given::Password(password))),
        (None, Some(hash)) => {
            check_hash(hash.expose())?;
            Ok(Some(Given::Hash(hash)))
        }
        (None, None) => Ok(None),
    }
}

/// The refusal where a password must be given.
pub(super) fn missing() -> Error {
    Error::invalid("must provide either password or password_hash")
}

fn check_hash(hash: &str) -> Result<(), Error> {
    let invalid = || Error::invalid("password_hash is not a valid bcrypt hash");
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| invalid())?;
    if hash.len() != HASH_LENGTH {
        return Err(invalid());
    }
    let cost = parts.get_cost();
    if cost > END_OF_COSTS {
        return Err(invalid());
    }
    if cost < LEAST_COST {
        return Err(Error::invalid(format!(
            "bcrypt cost of {cost} is too low, want {LEAST_COST} at minimum"
        )));
    }
    if cost > MOST_COST {
        return Err(Error::invalid(format!(
            "bcrypt cost of {cost} exceeds maximum cost of {MOST_COST}"
        )));
    }
    Ok(())
}

/// Where passwords are hashed and verified.
pub(super) struct Passwords {
    working: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            working: Semaphore::new(processors),
            waiting: Semaphore::new(processors + MOST_WAITING),
        }
    }

    /// The hash of what was given.
    pub(super) async fn settle(
        &self,
        given: Given,
        random: &dyn Random,
    ) -> Result<SecretString, Error> {
        let password = match given {
            Given::Hash(hash) => return Ok(hash),
            Given::Password(password) => password,
        };
        let mut salt = [0; 16];
        random.fill(&mut salt);
        let hash = self
            .work(move || {
                bcrypt::hash_with_salt(password.expose().as_bytes(), COST, salt)
                    .map(|parts| SecretString::new(parts.format_for_version(bcrypt::Version::TwoB)))
            })
            .await?;
        hash.map_err(|error| Error::internal("hash a password", error))
    }

    /// Whether `password` has this hash. Where there is no hash it takes as long to say no, so that
    /// the time taken does not tell which users there are.
    pub(super) async fn verify(
        &self,
        password: SecretString,
        hash: Option<SecretString>,
    ) -> Result<bool, Error> {
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.into());
        let fits = self
            .work(move || bcrypt::verify(password.expose().as_bytes(), hash.expose()))
            .await?
            .map_err(|error| Error::internal("verify a password", error))?;
        Ok(fits && is_known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Busy("too many logins at once".to_owned());
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let _processor = self.working.acquire().await.map_err(|_| busy())?;
        let done = spawn_blocking(work).await;
        done.map_err(|error| Error::internal("work on a password", error))
    }
}
