//! The seal: its keys, and whether they open this store.

use std::path::Path;

use holdfast_barrier::SealConfig;
use holdfast_types::SystemRandom;
use holdfast_vault::config::{ConfigError, SealSettings};

use super::super::super::connection::chain;
use super::report::Check;

/// Whether the seal can be made of what is configured.
pub(super) fn check(seal: &Result<(SealSettings, Vec<String>), ConfigError>) -> Check {
    let check = Check::new("Create Vault Server Configuration Seals");
    match seal {
        Ok((seal, warnings)) => {
            let check = warnings.iter().fold(check, Check::warn);
            let kind = match seal {
                SealSettings::Shamir => "shamir: operators open it with their shares.".to_owned(),
                SealSettings::Static { current, .. } => format!("static, key {:?}.", current.id),
            };
            check.detail(kind)
        }
        Err(problems) => check.fail(problems.to_string().trim_end().replace('\n', "; ")),
    }
}

/// Whether the seal opens the store at `path`; where that holds no root key yet, one of its own.
pub(super) fn check_encryption(settings: Option<&SealSettings>, path: Option<&Path>) -> Check {
    let check = Check::new("Check Autounseal Encryption");
    let seal = match settings.map(SealSettings::barrier) {
        None => return check.fail("There is no seal to try."),
        Some(Err(error)) => return check.fail(chain(&error)),
        Some(Ok(seal)) => seal,
    };
    if matches!(seal, SealConfig::Shamir) {
        return check.skip("Skipping barrier encryption test. Only supported for auto-unseal.");
    }
    match seal.try_on(path, &SystemRandom) {
        Ok(true) => check.say("The key opens the store's root key."),
        Ok(false) => check.say("The key wraps and unwraps; no store was there to open."),
        Err(error) => check.fail(chain(&error)),
    }
}
