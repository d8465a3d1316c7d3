//! What may be issued: a role as it is stored, written and read.

use std::time::Duration;

use holdfast_keys::x509::Oid;
use holdfast_logical::{Error, Fields};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::fault;
use super::generate::checked_bits;
use super::names::parse_other_names;
use super::policy_identifiers;
use super::store::DEFAULT;
use super::validity::parse_time;

/// A role. The names are those of its fields in the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) ttl: Duration,
    pub(super) max_ttl: Duration,
    pub(super) allow_localhost: bool,
    pub(super) allowed_domains: Vec<String>,
    pub(super) allowed_domains_template: bool,
    pub(super) allow_globs_in_identity_templates: bool,
    pub(super) allow_bare_domains: bool,
    pub(super) allow_subdomains: bool,
    pub(super) allow_glob_domains: bool,
    pub(super) allow_wildcard_certificates: bool,
    pub(super) allow_any_name: bool,
    pub(super) enforce_hostnames: bool,
    pub(super) allow_ip_sans: bool,
    pub(super) allowed_ip_sans_cidr: Vec<IpNet>,
    pub(super) allowed_uri_sans: Vec<String>,
    pub(super) allowed_uri_sans_template: bool,
    pub(super) allowed_other_sans: Vec<String>,
    pub(super) allowed_serial_numbers: Vec<String>,
    pub(super) allowed_user_ids: Vec<String>,
    pub(super) server_flag: bool,
    pub(super) client_flag: bool,
    pub(super) code_signing_flag: bool,
    pub(super) email_protection_flag: bool,
    pub(super) key_type: String,
    pub(super) key_bits: i64,
    pub(super) signature_bits: i64,
    pub(super) use_pss: bool,
    pub(super) key_usage: Vec<String>,
    pub(super) ext_key_usage: Vec<String>,
    pub(super) ext_key_usage_oids: Vec<String>,
    pub(super) use_csr_common_name: bool,
    pub(super) use_csr_sans: bool,
    pub(super) ou: Vec<String>,
    pub(super) organization: Vec<String>,
    pub(super) country: Vec<String>,
    pub(super) locality: Vec<String>,
    pub(super) province: Vec<String>,
    pub(super) street_address: Vec<String>,
    pub(super) postal_code: Vec<String>,
    pub(super) generate_lease: bool,
    pub(super) no_store: bool,
    pub(super) require_cn: bool,
    pub(super) cn_validations: Vec<String>,
    /// Dotted, or JSON with what a reader is told.
    pub(super) policy_identifiers: Vec<String>,
    pub(super) basic_constraints_valid_for_non_ca: bool,
    pub(super) not_before_duration: Duration,
    pub(super) not_before: String,
    /// `permit`, `duration` or `forbid`; empty: the request's is passed over.
    pub(super) not_before_bound: String,
    pub(super) not_after: String,
    /// `permit`, `ttl-limited`, `forbid` or a time; empty: as `permit`.
    pub(super) not_after_bound: String,
    pub(super) issuer_ref: String,
    /// Not of the API: set where an authority is made with a role of its own.
    #[serde(skip)]
    pub(super) max_path_length: Option<i64>,
}

impl Default for Role {
    /// As a role is that was written without any field.
    fn default() -> Self {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            allow_localhost: true,
            allowed_domains: Vec::new(),
            allowed_domains_template: false,
            allow_globs_in_identity_templates: false,
            allow_bare_domains: false,
            allow_subdomains: false,
            allow_glob_domains: false,
            allow_wildcard_certificates: true,
            allow_any_name: false,
            enforce_hostnames: true,
            allow_ip_sans: true,
            allowed_ip_sans_cidr: Vec::new(),
            allowed_uri_sans: Vec::new(),
            allowed_uri_sans_template: false,
            allowed_other_sans: Vec::new(),
            allowed_serial_numbers: Vec::new(),
            allowed_user_ids: Vec::new(),
            server_flag: true,
            client_flag: true,
            code_signing_flag: false,
            email_protection_flag: false,
            key_type: "rsa".to_owned(),
            key_bits: 0,
            signature_bits: 0,
            use_pss: false,
            key_usage: own(&["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
            ext_key_usage: Vec::new(),
            ext_key_usage_oids: Vec::new(),
            use_csr_common_name: true,
            use_csr_sans: true,
            ou: Vec::new(),
            organization: Vec::new(),
            country: Vec::new(),
            locality: Vec::new(),
            province: Vec::new(),
            street_address: Vec::new(),
            postal_code: Vec::new(),
            generate_lease: false,
            no_store: false,
            require_cn: true,
            cn_validations: own(&["email", "hostname"]),
            policy_identifiers: Vec::new(),
            basic_constraints_valid_for_non_ca: false,
            not_before_duration: Duration::from_secs(30),
            not_before: String::new(),
            not_before_bound: "permit".to_owned(),
            not_after: String::new(),
            not_after_bound: "permit".to_owned(),
            issuer_ref: DEFAULT.to_owned(),
            max_path_length: None,
        }
    }
}

impl Role {
    /// A role that allows anything: for authorities, and for requests that are signed as they are.
    pub(super) fn permissive() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            allow_any_name: true,
            enforce_hostnames: false,
            allowed_uri_sans: any(),
            allowed_other_sans: any(),
            allowed_serial_numbers: any(),
            cn_validations: vec!["disabled".to_owned()],
            server_flag: false,
            client_flag: false,
            require_cn: false,
            use_csr_common_name: false,
            use_csr_sans: false,
            not_before_bound: String::new(),
            not_after_bound: String::new(),
            ..Self::default()
        }
    }

    /// This role with the fields that are given.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn written(mut self, fields: Fields<'_>) -> Result<Self, Error> {
        for (name, flag) in self.flags_mut() {
            if let Some(given) = fields.bool(name)? {
                *flag = given;
            }
        }
        for (name, list) in self.lists_mut() {
            if let Some(given) = fields.strings(name)? {
                *list = given;
            }
        }
        for (name, duration) in [
            ("ttl", &mut self.ttl),
            ("max_ttl", &mut self.max_ttl),
            ("not_before_duration", &mut self.not_before_duration),
        ] {
            if let Some(given) = fields.duration(name)? {
                *duration = Duration::from_secs(given.as_secs());
            }
        }
        for (name, text) in [
            ("key_type", &mut self.key_type),
            ("not_before", &mut self.not_before),
            ("not_before_bound", &mut self.not_before_bound),
            ("not_after", &mut self.not_after),
            ("not_after_bound", &mut self.not_after_bound),
            ("issuer_ref", &mut self.issuer_ref),
        ] {
            if let Some(given) = fields.string(name)? {
                *text = given;
            }
        }
        for (name, number) in
            [("key_bits", &mut self.key_bits), ("signature_bits", &mut self.signature_bits)]
        {
            if let Some(given) = fields.integer(name)? {
                *number = given;
            }
        }
        if let Some(given) = policy_identifiers::given(fields)? {
            self.policy_identifiers = given;
        }
        if self.allowed_other_sans != ["*"] {
            parse_other_names(&self.allowed_other_sans).map_err(|problem| {
                Error::invalid(format!("error parsing allowed_other_sans: {problem}"))
            })?;
        }
        if let Some(networks) = fields.strings("allowed_ip_sans_cidr")? {
            self.allowed_ip_sans_cidr = networks.iter().map(network).collect::<Result<_, _>>()?;
        }
        self.check(fields)?;
        Ok(self)
    }

    fn check(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        let is_bound = ["permit", "ttl-limited", "forbid"].contains(&self.not_after_bound.as_str());
        if fields.has("not_after_bound") && !is_bound && parse_time(&self.not_after_bound).is_err()
        {
            return Err(Error::invalid(
                "Unknown value for field `not_after_bound`. Possible values are `permit`, \
                 `ttl-limited`, `forbid`, or an explicit timestamp.",
            ));
        }
        let is_bound = ["permit", "duration", "forbid"].contains(&self.not_before_bound.as_str());
        if fields.has("not_before_bound") && !is_bound {
            return Err(Error::invalid(
                "Unknown value for field `not_before_bound`. Possible values are `permit` \
                 `duration` or `forbid`",
            ));
        }
        if !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return Err(Error::invalid("\"ttl\" value must be less than \"max_ttl\" value"));
        }
        self.key_bits = checked_bits(&self.key_type, self.key_bits).map_err(Error::invalid)?;
        if let Some(bad) = self.ext_key_usage_oids.iter().find(|oid| Oid::parse(oid).is_err()) {
            return Err(Error::invalid(format!(
                "{bad:?} could not be parsed as a valid oid for an extended key usage"
            )));
        }
        policy_identifiers::parse(&self.policy_identifiers).map_err(fault)?;
        if self.issuer_ref.is_empty() {
            DEFAULT.clone_into(&mut self.issuer_ref);
        }
        self.cn_validations = checked_validations(&self.cn_validations).map_err(fault)?;
        self.generate_lease &= !self.no_store;
        Ok(())
    }

    /// All of it, as the API shows it.
    pub(super) fn response(&self) -> Value {
        // What it is stored as, but for what has another form on the wire.
        let mut data = json!(self);
        data["ttl"] = json!(self.ttl.as_secs());
        data["max_ttl"] = json!(self.max_ttl.as_secs());
        data["not_before_duration"] = json!(self.not_before_duration.as_secs());
        // No longer to be set, always false.
        data["allow_token_displayname"] = json!(false);
        data
    }

    fn flags_mut(&mut self) -> [(&'static str, &mut bool); 22] {
        [
            ("allow_localhost", &mut self.allow_localhost),
            ("allowed_domains_template", &mut self.allowed_domains_template),
            ("allow_globs_in_identity_templates", &mut self.allow_globs_in_identity_templates),
            ("allow_bare_domains", &mut self.allow_bare_domains),
            ("allow_subdomains", &mut self.allow_subdomains),
            ("allow_glob_domains", &mut self.allow_glob_domains),
            ("allow_wildcard_certificates", &mut self.allow_wildcard_certificates),
            ("allow_any_name", &mut self.allow_any_name),
            ("enforce_hostnames", &mut self.enforce_hostnames),
            ("allow_ip_sans", &mut self.allow_ip_sans),
            ("allowed_uri_sans_template", &mut self.allowed_uri_sans_template),
            ("server_flag", &mut self.server_flag),
            ("client_flag", &mut self.client_flag),
            ("code_signing_flag", &mut self.code_signing_flag),
            ("email_protection_flag", &mut self.email_protection_flag),
            ("use_pss", &mut self.use_pss),
            ("use_csr_common_name", &mut self.use_csr_common_name),
            ("use_csr_sans", &mut self.use_csr_sans),
            ("generate_lease", &mut self.generate_lease),
            ("no_store", &mut self.no_store),
            ("require_cn", &mut self.require_cn),
            ("basic_constraints_valid_for_non_ca", &mut self.basic_constraints_valid_for_non_ca),
        ]
    }

    fn lists_mut(&mut self) -> [(&'static str, &mut Vec<String>); 16] {
        [
            ("allowed_domains", &mut self.allowed_domains),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_other_sans", &mut self.allowed_other_sans),
            ("allowed_serial_numbers", &mut self.allowed_serial_numbers),
            ("allowed_user_ids", &mut self.allowed_user_ids),
            ("key_usage", &mut self.key_usage),
            ("ext_key_usage", &mut self.ext_key_usage),
            ("ext_key_usage_oids", &mut self.ext_key_usage_oids),
            ("cn_validations", &mut self.cn_validations),
            ("ou", &mut self.ou),
            ("organization", &mut self.organization),
            ("country", &mut self.country),
            ("locality", &mut self.locality),
            ("province", &mut self.province),
            ("street_address", &mut self.street_address),
            ("postal_code", &mut self.postal_code),
        ]
    }
}

/// A network that roles limit addresses to, its host bits cleared.
fn network(text: &String) -> Result<IpNet, Error> {
    let parsed = text.parse::<IpNet>().map(|network| network.trunc());
    parsed.map_err(|_| {
        Error::invalid(format!("error parsing allowed_ip_sans_cidr: invalid CIDR address: {text}"))
    })
}

/// How common names are checked: as mail addresses, host names, both (either will do), or not.
fn checked_validations(given: &[String]) -> Result<Vec<String>, String> {
    const WRONG: &str = "cn_validations value incorrect:";
    if given.is_empty() {
        return Ok(vec!["email".to_owned(), "hostname".to_owned()]);
    }
    let mut checked = Vec::new();
    for name in given {
        let lower = name.to_ascii_lowercase();
        if !["disabled", "email", "hostname"].contains(&lower.as_str()) {
            return Err(format!("{WRONG} unknown type: `{name}`"));
        }
        if checked.contains(&lower) {
            return Err(format!("{WRONG} `{lower}` specified multiple times"));
        }
        checked.push(lower);
    }
    if checked.len() > 1 && checked.iter().any(|name| name == "disabled") {
        return Err(format!("{WRONG} cannot specify `disabled` along with `email` or `hostname`"));
    }
    Ok(checked)
}
