//! A trusted certificate: who may log in by it, and what they get.

use holdfast_keys::x509::der::{Reader, tag};
use holdfast_keys::x509::{Certificate, Oid, oids};
use holdfast_logical::{Error, Fields, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::token_params::{OldName, RoleTokens};

/// The names from before `token_*` that this method takes.
const OLD_NAMES: &[OldName] =
    &[OldName::Policies, OldName::Ttl, OldName::MaxTtl, OldName::Period, OldName::BoundCidrs];

/// clientAuth and anyExtendedKeyUsage.
const FOR_CLIENTS: [Oid; 2] =
    [Oid::known(&[0x2b, 6, 1, 5, 5, 7, 3, 2]), Oid::known(&[0x55, 0x1d, 37, 0])];

/// As it is stored. Lists that were never set are printed as `null`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trusted {
    /// PEM, of one client or of authorities.
    pub(super) certificate: String,
    /// Goes into the display name of tokens.
    pub(super) display_name: String,
    /// Life and policies of the tokens that it gives.
    pub(super) tokens: RoleTokens,
    /// What a client's certificate must be.
    pub(super) allowed: Allowed,
    /// Object identifiers of extensions that become metadata.
    pub(super) metadata_extensions: Option<Vec<String>>,
    ocsp_ca_certificates: String,
    ocsp_servers_override: Option<Vec<String>>,
    ocsp_fail_open: bool,
    ocsp_query_all_servers: bool,
}

/// Each list that is not empty must have an entry that fits. All but the last are globs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Allowed {
    /// Of the common name, the DNS names and the mail addresses together.
    pub(super) names: Option<Vec<String>>,
    pub(super) common_names: Option<Vec<String>>,
    pub(super) dns_sans: Option<Vec<String>>,
    pub(super) email_sans: Option<Vec<String>>,
    pub(super) uri_sans: Option<Vec<String>>,
    pub(super) organizational_units: Option<Vec<String>>,
    /// `<object identifier>:<glob>`, all of which must fit.
    pub(super) required_extensions: Option<Vec<String>>,
}

impl Trusted {
    /// Takes over the fields of a request; those that are missing stay. Returns warnings.
    ///
    /// # Errors
    /// 400 in OpenBao's words, except for what is refused because it is not supported.
    pub(super) fn update(&mut self, request: &Request, name: &str) -> Result<Vec<String>, Error> {
        let fields = request.fields();
        set(&mut self.certificate, fields.string("certificate")?);
        self.update_ocsp(fields)?;
        set(&mut self.display_name, fields.string("display_name")?);
        self.allowed.update(fields)?;
        set_some(&mut self.metadata_extensions, fields.strings("allowed_metadata_extensions")?);
        self.tokens.update(fields, OLD_NAMES)?;
        self.tokens.update_lease(fields, "lease")?;
        if self.display_name.is_empty() {
            name.clone_into(&mut self.display_name);
        }
        let certificates = Certificate::all_from_pem(&self.certificate)
            .map_err(|_| Error::invalid("failed to parse certificate"))?;
        if let Some(first) = certificates.first()
            && !first.is_ca
            && !is_for_clients(first)
        {
            return Err(Error::invalid(
                "nonCA certificates should have TLS client authentication set as an extended key \
                 usage",
            ));
        }
        Ok(self.warnings(request))
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        let allowed = &self.allowed;
        for (name, value) in [
            ("allowed_common_names", allowed.common_names.clone().into()),
            ("allowed_dns_sans", allowed.dns_sans.clone().into()),
            ("allowed_email_sans", allowed.email_sans.clone().into()),
            ("allowed_metadata_extensions", self.metadata_extensions.clone().into()),
            ("allowed_names", allowed.names.clone().into()),
            ("allowed_organizational_units", allowed.organizational_units.clone().into()),
            ("allowed_uri_sans", allowed.uri_sans.clone().into()),
            ("certificate", self.certificate.clone().into()),
            ("display_name", self.display_name.clone().into()),
            ("ocsp_ca_certificates", self.ocsp_ca_certificates.clone().into()),
            ("ocsp_enabled", false.into()),
            ("ocsp_fail_open", self.ocsp_fail_open.into()),
            ("ocsp_query_all_servers", self.ocsp_query_all_servers.into()),
            ("ocsp_servers_override", self.ocsp_servers_override.clone().into()),
            ("required_extensions", allowed.required_extensions.clone().into()),
        ] {
            data.insert(name.to_owned(), value);
        }
        Value::Object(data)
    }

    /// Settings of OCSP are kept; a check that is not made must not seem to be on.
    fn update_ocsp(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        if fields.bool("ocsp_enabled")? == Some(true) {
            return Err(Error::invalid(
                "'ocsp_enabled' is not supported: keep revocation lists under crls/",
            ));
        }
        set(&mut self.ocsp_ca_certificates, fields.string("ocsp_ca_certificates")?);
        set_some(&mut self.ocsp_servers_override, fields.strings("ocsp_servers_override")?);
        set(&mut self.ocsp_fail_open, fields.bool("ocsp_fail_open")?);
        set(&mut self.ocsp_query_all_servers, fields.bool("ocsp_query_all_servers")?);
        Ok(())
    }

    fn warnings(&self, request: &Request) -> Vec<String> {
        let (params, mount) = (&self.tokens.params, &request.mount);
        let past = |name, given: std::time::Duration, bound: std::time::Duration, what| {
            (given > bound).then(|| {
                format!(
                    "Given {name} of {} seconds is greater than {what} of {} seconds",
                    given.as_secs(),
                    bound.as_secs()
                )
            })
        };
        let default = "current mount/system default";
        let longest = "the backend's maximum TTL";
        [
            past("ttl", params.token_ttl, mount.default_ttl, default),
            past("max_ttl", params.token_max_ttl, mount.max_ttl, default),
            past("period", params.token_period, mount.max_ttl, longest),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Allowed {
    fn update(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        for (target, name) in [
            (&mut self.names, "allowed_names"),
            (&mut self.common_names, "allowed_common_names"),
            (&mut self.dns_sans, "allowed_dns_sans"),
            (&mut self.email_sans, "allowed_email_sans"),
            (&mut self.uri_sans, "allowed_uri_sans"),
            (&mut self.organizational_units, "allowed_organizational_units"),
        ] {
            set_some(target, fields.strings(name)?);
        }
        if let Some(required) = fields.strings("required_extensions")? {
            if let Some(wrong) = required.iter().find(|text| !text.contains(':')) {
                return Err(Error::invalid(format!(
                    "'required_extensions' holds {wrong:?}, which is not of the form \"oid:value\""
                )));
            }
            self.required_extensions = Some(required);
        }
        Ok(())
    }
}

/// Whether a certificate that says what it is for is for clients.
fn is_for_clients(certificate: &Certificate) -> bool {
    let Some(purposes) = certificate.extension(&oids::EXTENDED_KEY_USAGE) else { return true };
    let Ok(mut purposes) = Reader::new(purposes).inside(tag::SEQUENCE) else { return false };
    while let Ok(purpose) = purposes.oid() {
        if FOR_CLIENTS.contains(&purpose) {
            return true;
        }
    }
    false
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn set_some<T>(target: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *target = value;
    }
}
