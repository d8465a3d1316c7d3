//! The checks by their names.

use serde_json::{Map, Value};

use super::finding::Finding;
use super::mount::Mount;
use super::settings::{Setting, Settings};
use super::{acme, issuers, roles, tuning, upkeep};

/// What a check found, or why nothing can be checked at all.
pub(super) type Findings = Result<Vec<Finding>, String>;

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    CaValidityPeriod,
    CrlValidityPeriod,
    HardwareBackedRoot,
    RootIssuedLeaves,
    RoleAllowsLocalhost,
    RoleAllowsGlobWildcards,
    RoleNoStoreFalse,
    AuditVisibility,
    AllowIfModifiedSince,
    EnableAutoTidy,
    TidyLastRun,
    TooManyCerts,
    EnableAcmeIssuance,
    AllowAcmeHeaders,
}

impl Check {
    /// In the order in which they run.
    pub(super) const ALL: [Self; 14] = [
        Self::CaValidityPeriod,
        Self::CrlValidityPeriod,
        Self::HardwareBackedRoot,
        Self::RootIssuedLeaves,
        Self::RoleAllowsLocalhost,
        Self::RoleAllowsGlobWildcards,
        Self::RoleNoStoreFalse,
        Self::AuditVisibility,
        Self::AllowIfModifiedSince,
        Self::EnableAutoTidy,
        Self::TidyLastRun,
        Self::TooManyCerts,
        Self::EnableAcmeIssuance,
        Self::AllowAcmeHeaders,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CaValidityPeriod => "ca_validity_period",
            Self::CrlValidityPeriod => "crl_validity_period",
            Self::HardwareBackedRoot => "hardware_backed_root",
            Self::RootIssuedLeaves => "root_issued_leaves",
            Self::RoleAllowsLocalhost => "role_allows_localhost",
            Self::RoleAllowsGlobWildcards => "role_allows_glob_wildcards",
            Self::RoleNoStoreFalse => "role_no_store_false",
            Self::AuditVisibility => "audit_visibility",
            Self::AllowIfModifiedSince => "allow_if_modified_since",
            Self::EnableAutoTidy => "enable_auto_tidy",
            Self::TidyLastRun => "tidy_last_run",
            Self::TooManyCerts => "too_many_certs",
            Self::EnableAcmeIssuance => "enable_acme_issuance",
            Self::AllowAcmeHeaders => "allow_acme_headers",
        }
    }

    /// What it can be told besides `enabled`.
    fn known(self) -> &'static [(&'static str, Setting)] {
        use Setting::{Count, Duration, Names, Percent};
        match self {
            Self::CaValidityPeriod => &[
                ("root_expiry_critical", Duration("180d")),
                ("intermediate_expiry_critical", Duration("30d")),
                ("root_expiry_warning", Duration("365d")),
                ("intermediate_expiry_warning", Duration("60d")),
                ("root_expiry_informational", Duration("730d")),
                ("intermediate_expiry_informational", Duration("180d")),
            ],
            Self::CrlValidityPeriod => &[
                ("crl_expiry_pct_critical", Percent("95")),
                ("delta_crl_expiry_pct_critical", Percent("95")),
            ],
            Self::RootIssuedLeaves => &[("certs_to_fetch", Count(100, 100_000))],
            Self::RoleNoStoreFalse => &[("allowed_roles", Names)],
            Self::AuditVisibility => &[("ignored_parameters", Names)],
            Self::EnableAutoTidy => &[
                ("interval_duration_critical", Duration("7d")),
                ("interval_duration_warning", Duration("2d")),
                ("pause_duration_critical", Duration("1s")),
                ("pause_duration_warning", Duration("200ms")),
            ],
            Self::TidyLastRun => {
                &[("last_run_critical", Duration("7d")), ("last_run_warning", Duration("2d"))]
            }
            Self::TooManyCerts => &[
                ("count_critical", Count(250_000, 15_000_000)),
                ("count_warning", Count(50_000, 15_000_000)),
            ],
            Self::HardwareBackedRoot
            | Self::RoleAllowsLocalhost
            | Self::RoleAllowsGlobWildcards
            | Self::AllowIfModifiedSince
            | Self::EnableAcmeIssuance
            | Self::AllowAcmeHeaders => &[],
        }
    }

    /// What it is told where nothing is said, as `-list` shows it.
    pub(super) fn defaults(self) -> Map<String, Value> {
        let known = self.known().iter();
        let mut defaults: Map<_, _> =
            known.map(|(name, setting)| ((*name).to_owned(), setting.default())).collect();
        if self == Self::HardwareBackedRoot {
            // Few have any.
            defaults.insert("enabled".to_owned(), false.into());
        }
        defaults
    }

    /// What it is told by a file that holds `said` for it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn settings(self, enabled: bool, said: Option<&Value>) -> Result<Settings, String> {
        let enabled = enabled && self != Self::HardwareBackedRoot;
        Settings::resolve(self.name(), self.known(), enabled, said)
    }

    pub(super) async fn run(self, mount: &Mount<'_>, settings: &Settings) -> Findings {
        match self {
            Self::CaValidityPeriod => issuers::validity(mount, settings).await,
            Self::CrlValidityPeriod => issuers::crls(mount, settings).await,
            Self::HardwareBackedRoot => issuers::hardware(mount).await,
            Self::RootIssuedLeaves => issuers::leaves(mount, settings).await,
            Self::RoleAllowsLocalhost => roles::localhost(mount).await,
            Self::RoleAllowsGlobWildcards => roles::wildcards(mount).await,
            Self::RoleNoStoreFalse => roles::stored(mount, settings).await,
            Self::AuditVisibility => tuning::audit(mount, settings).await,
            Self::AllowIfModifiedSince => tuning::if_modified_since(mount).await,
            Self::EnableAutoTidy => upkeep::auto_tidy(mount, settings).await,
            Self::TidyLastRun => upkeep::last_tidy(mount, settings).await,
            Self::TooManyCerts => upkeep::certificates(mount, settings).await,
            Self::EnableAcmeIssuance => acme::issuance(mount).await,
            Self::AllowAcmeHeaders => tuning::acme_headers(mount).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_changes_what_it_names() {
        let check = Check::CaValidityPeriod;
        for (said, want) in [
            (json!({}), Ok((true, 15_552_000))),
            (json!({ "root_expiry_critical": "1d" }), Ok((true, 86_400))),
            (json!({ "enabled": "false", "root_expiry_critical": 60 }), Ok((false, 60))),
            (json!({ "x": 1 }), Err("unknown configuration option for ca_validity_period: x")),
            (
                json!({ "root_expiry_critical": "soon" }),
                Err("ca_validity_period: root_expiry_critical cannot be \"soon\""),
            ),
            (json!(7), Err("ca_validity_period: expected an object")),
        ] {
            let got = check.settings(true, Some(&said)).map(|settings| {
                (settings.enabled, settings.duration("root_expiry_critical").as_secs())
            });
            assert_eq!(got, want.map_err(str::to_owned), "{said}");
        }
        let percent = json!({ "crl_expiry_pct_critical": 100 });
        assert!(Check::CrlValidityPeriod.settings(true, Some(&percent)).is_err());
        let pause = Check::EnableAutoTidy.settings(true, None).unwrap();
        assert_eq!(pause.duration("pause_duration_warning"), Duration::from_millis(200));
        assert!(!Check::HardwareBackedRoot.settings(true, None).unwrap().enabled);
    }
}
