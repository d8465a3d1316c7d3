//! Issuing certificates by role: with a key of our making, or for a request.

use holdfast_barrier::Batch;
use holdfast_keys::x509::{
    Certificate, CertificateRequest, CertificateTemplate, Extension, KeyAlgorithm, PrivateKey,
    PublicKey, X509Error, decode_pem, oids,
};
use holdfast_logical::{Error, Fields, LeaseSpec, Reply, Request, Response};
use serde_json::{Map, Value, json};

use super::error::{failed, fault};
use super::extensions::Extensions;
use super::generate::{checked_bits, checked_signature_bits, key_algorithm};
use super::output::{Format, UNKNOWN_FORMAT, base64, issuer_text, put_key};
use super::profile::{Asked, Profile, extended_key_usage_extension, key_usage};
use super::role::Role;
use super::root::signature_algorithm;
use super::sign_intermediate::authority_key_id;
use super::store::Signer;
use super::validity::unix_seconds;
use super::{Engine, policy_identifiers, serial};

/// Of more than this many names no certificate is made: it would fit into no handshake.
const MOST_NAMES: usize = 1000;

/// Requests in PEM are not longer than this.
const LONGEST_CSR: usize = 256 * 1024;

impl Engine {
    /// `issue/<role>`
    pub(super) async fn issue(&self, issuer: Option<&str>, role: &str, request: &Request) -> Reply {
        let mut role = self.required_role(role).await?;
        let fields = request.fields();
        let asks_for_key = fields.has("key_type") || fields.has("key_bits");
        let mut is_ignored = false;
        if role.key_type == "any" {
            choose_key(&mut role, fields)?;
        } else {
            is_ignored = asks_for_key;
        }
        let signer = self.signer_for(issuer, &role, request).await?;
        let format = Format::parse(fields, UNKNOWN_FORMAT)?;
        let now = self.context.clock.now();
        let profile =
            Asked { role: &role, request, csr: None, signer: Some(&signer), now }.profile()?;
        // Looked at before the key is made, which takes long.
        check_count(profile.names.len())?;
        let key = self.generator.generate(key_algorithm(&role.key_type, role.key_bits)?).await?;
        let wanted =
            Leaf { role: &role, profile: &profile, public_key: key.public_key(), csr: None };
        let certificate = self.sign_leaf(&wanted, &signer).await?;
        let issued =
            Issued { role: &role, signer: &signer, certificate: &certificate, key: Some(&key) };
        let mut response = self.issued(&issued, format, request).await?;
        response.warnings.extend(profile.warnings);
        if is_ignored {
            let warning = "parameters key_type and key_bits ignored as role had specific values";
            response = response.warn(warning);
        }
        Ok(Some(response))
    }

    /// `sign/<role>`
    pub(super) async fn sign(&self, issuer: Option<&str>, role: &str, request: &Request) -> Reply {
        let role = self.required_role(role).await?;
        self.sign_request(issuer, role, request, false).await
    }

    /// `sign-verbatim`: what the request asks for, without a role's limits.
    pub(super) async fn sign_verbatim(
        &self,
        issuer: Option<&str>,
        role: Option<&str>,
        request: &Request,
    ) -> Reply {
        let named = match role {
            Some(name) => Some(self.required_role(name).await?),
            None => None,
        };
        let role = verbatim_role(request.fields(), named)?;
        self.sign_request(issuer, role, request, true).await
    }

    async fn sign_request(
        &self,
        issuer: Option<&str>,
        mut role: Role,
        request: &Request,
        verbatim: bool,
    ) -> Reply {
        let fields = request.fields();
        let signer = self.signer_for(issuer, &role, request).await?;
        let format = Format::parse(fields, UNKNOWN_FORMAT)?;
        let csr = parse_csr(&fields.string("csr")?.unwrap_or_default())?;
        check_csr_key(&mut role, &csr)?;
        let now = self.context.clock.now();
        let profile = Asked { role: &role, request, csr: Some(&csr), signer: Some(&signer), now }
            .profile()?;
        check_count(profile.names.len())?;
        csr.check_signature().map_err(|_| Error::invalid("request signature invalid"))?;
        let wanted = Leaf {
            role: &role,
            profile: &profile,
            public_key: &csr.public_key,
            csr: verbatim.then_some(&csr),
        };
        let certificate = self.sign_leaf(&wanted, &signer).await?;
        let issued = Issued { role: &role, signer: &signer, certificate: &certificate, key: None };
        let mut response = self.issued(&issued, format, request).await?;
        for (name, flag, is_used) in [
            ("common_name", "use_csr_common_name", role.use_csr_common_name),
            ("alt_names", "use_csr_sans", role.use_csr_sans),
        ] {
            if is_used && !fields.string(name)?.unwrap_or_default().is_empty() {
                response = response.warn(format!(
                    "the {name} field was provided but the role is set with \"{flag}\" set to true"
                ));
            }
        }
        response.warnings.extend(profile.warnings);
        let asks_to_be_ca = csr.extensions.iter().any(|e| e.oid == oids::BASIC_CONSTRAINTS);
        if asks_to_be_ca && !role.basic_constraints_valid_for_non_ca {
            response = response.warn(
                "specified CSR contained a Basic Constraints extension that was ignored during \
                 issuance",
            );
        }
        Ok(Some(response))
    }

    /// The issuer that the path names, or the role.
    async fn signer_for(
        &self,
        issuer: Option<&str>,
        role: &Role,
        request: &Request,
    ) -> Result<Signer, Error> {
        self.named_signer(Some(issuer.unwrap_or(&role.issuer_ref)), request).await
    }

    async fn sign_leaf(&self, leaf: &Leaf<'_>, signer: &Signer) -> Result<Certificate, Error> {
        let Leaf { role, profile, public_key, csr } = leaf;
        let issuer = &signer.issuer;
        let urls = self.urls_of(issuer.entry.urls.as_ref(), &issuer.entry.id).await?;
        let subject = match csr {
            Some(csr) => csr.subject.clone(),
            None => profile.subject.to_name(),
        };
        let policies = policy_identifiers::parse(&role.policy_identifiers).map_err(fault)?;
        let is_qualified = policies.iter().any(|p| p.cps.is_some() || p.notice.is_some());
        let policies = Extension::certificate_policies(&policies);
        let constraints = role.basic_constraints_valid_for_non_ca;
        let mut extensions = Extensions::new([
            Extension::key_usage(key_usage(&role.key_usage)),
            extended_key_usage_extension(role),
            constraints.then(|| Extension::basic_constraints(false, None)),
            Some(Extension::subject_key_id(&public_key.key_id())),
            Some(Extension::authority_key_id(&authority_key_id(&issuer.certificate))),
            Extension::authority_info_access(&urls.ocsp_servers, &urls.issuing_certificates),
        ]);
        let mut names = profile.names.clone();
        if let Some(csr) = csr {
            names = csr.names.clone();
        }
        extensions.names(&names, subject.is_empty(), csr.is_some());
        if is_qualified {
            extensions.add_late(policies);
        } else {
            extensions.add(policies);
        }
        extensions.add(Extension::crl_distribution_points(&urls.crl_distribution_points));
        extensions.add_late(Extension::freshest_crl(&urls.delta_crl_distribution_points));
        let extensions = extensions.build(*csr);
        let template = CertificateTemplate {
            serial: serial::generate(&*self.context.random),
            subject,
            not_before: profile.not_before,
            not_after: profile.not_after,
            public_key: (*public_key).clone(),
            extensions,
        };
        let key = &signer.key.pair;
        let algorithm = signature_algorithm(key, role);
        let der = template.sign(&issuer.certificate.subject, key, algorithm);
        let der = der.map_err(failed("sign a certificate"))?;
        Certificate::from_der(&der).map_err(failed("read back a certificate"))
    }

    /// Stores what was issued, as the role says, and makes the answer. A certificate with a lease
    /// is stored by the very commit that makes the lease.
    async fn issued(
        &self,
        issued: &Issued<'_>,
        format: Format,
        request: &Request,
    ) -> Result<Response, Error> {
        let Issued { role, certificate, key, .. } = issued;
        let number = serial::with_colons(&certificate.serial);
        let mut batch = Batch::new();
        if !role.no_store {
            let path = format!("certs/{}", serial::with_hyphens(&certificate.serial));
            batch.put(path, certificate.der.clone());
        }
        let mut response =
            Response { data: Some(issued.data(format, request.fields())?), ..Response::default() };
        if let Some(data) = &mut response.data
            && let Some(key) = key
        {
            put_key(data, key, format, request.fields())?;
        }
        if role.generate_lease {
            let left = certificate.not_after.duration_since(self.context.clock.now());
            response.lease = Some(LeaseSpec {
                ttl: Some(left.try_into().unwrap_or_default()),
                max_ttl: None,
                renewable: false,
                internal: json!({ "serial_number": number }),
                settles: self.context.storage.absolute(batch),
            });
        } else if !batch.is_empty() {
            self.context.storage.commit(batch).await?;
        }
        Ok(response)
    }
}

/// A certificate to be signed for someone who is no authority.
struct Leaf<'a> {
    role: &'a Role,
    profile: &'a Profile,
    public_key: &'a PublicKey,
    /// The request whose subject and extensions are taken as they are.
    csr: Option<&'a CertificateRequest>,
}

/// A certificate that was signed.
struct Issued<'a> {
    role: &'a Role,
    signer: &'a Signer,
    certificate: &'a Certificate,
    key: Option<&'a PrivateKey>,
}

impl Issued<'_> {
    fn data(&self, format: Format, fields: Fields<'_>) -> Result<Map<String, Value>, Error> {
        let certificate = self.certificate;
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("not_before", json!(certificate.not_before.as_second()));
        set("expiration", json!(unix_seconds(certificate.not_after)));
        set("serial_number", json!(serial::with_colons(&certificate.serial)));
        set("issuing_ca", json!(issuer_text(&self.signer.issuer, format)));
        let without_roots = fields.bool("remove_roots_from_chain")?.unwrap_or_default();
        let chain = chain_texts(self.signer, format, without_roots);
        let text = match format {
            Format::Der => base64(&certificate.der),
            Format::Pem => certificate.to_pem(),
            Format::PemBundle => {
                let key = self.key.map(|key| key.to_pem().expose().clone());
                let whole = chain_texts(self.signer, format, false);
                let parts: Vec<_> =
                    key.into_iter().chain([certificate.to_pem()]).chain(whole).collect();
                parts.join("\n")
            }
        };
        set("certificate", json!(text));
        if !chain.is_empty() {
            set("ca_chain", json!(chain));
        }
        Ok(data)
    }
}

/// The certificates above one that this issuer signed, its own first.
pub(super) fn chain_texts(signer: &Signer, format: Format, without_roots: bool) -> Vec<String> {
    let mut chain = signer.chain.clone();
    if chain.first().is_none_or(|first| first.entry.id != signer.issuer.entry.id) {
        chain.insert(0, signer.issuer.clone());
    }
    let kept = chain.iter().filter(|i| !(without_roots && i.certificate.is_self_issued()));
    kept.map(|issuer| issuer_text(issuer, format)).collect()
}

/// Refuses more alternative names than any certificate has use for.
///
/// # Errors
/// What the client reads.
pub(super) fn check_count(names: usize) -> Result<(), Error> {
    if names > MOST_NAMES {
        return Err(Error::invalid(format!(
            "more than {MOST_NAMES} alternative names are asked for"
        )));
    }
    Ok(())
}

/// The kind of key that a request chooses where the role takes any.
fn choose_key(role: &mut Role, fields: Fields<'_>) -> Result<(), Error> {
    let Some(kind) = fields.string("key_type")? else {
        return Err(Error::invalid(
            "role key type \"any\" not allowed for issuing certificates without providing key_type \
             and/or key_bits request parameters",
        ));
    };
    role.key_type = kind;
    if let Some(bits) = fields.integer("key_bits")? {
        role.key_bits = bits;
    }
    let refuse = |problem: String| fault(format!("failed to validate role: {problem}"));
    role.key_bits = checked_bits(&role.key_type, role.key_bits).map_err(refuse)?;
    role.signature_bits =
        checked_signature_bits(&role.key_type, role.signature_bits).map_err(refuse)?;
    Ok(())
}

/// The role behind `sign-verbatim`: anything is allowed, and a named role gives lives, storage and
/// issuer.
fn verbatim_role(fields: Fields<'_>, named: Option<Role>) -> Result<Role, Error> {
    let mut role = Role {
        key_type: "any".to_owned(),
        use_csr_common_name: true,
        use_csr_sans: true,
        allowed_user_ids: vec!["*".to_owned()],
        ..Role::permissive()
    };
    for (name, list) in [
        ("key_usage", &mut role.key_usage),
        ("ext_key_usage", &mut role.ext_key_usage),
        ("ext_key_usage_oids", &mut role.ext_key_usage_oids),
    ] {
        if let Some(given) = fields.strings(name)? {
            *list = given;
        }
    }
    role.signature_bits = fields.integer("signature_bits")?.unwrap_or_default();
    role.use_pss = fields.bool("use_pss")?.unwrap_or_default();
    let constraints = fields.bool("basic_constraints_valid_for_non_ca")?;
    role.basic_constraints_valid_for_non_ca = constraints.unwrap_or_default();
    if let Some(named) = named {
        role.ttl = named.ttl;
        role.max_ttl = named.max_ttl;
        role.generate_lease = named.generate_lease;
        role.not_before_duration = named.not_before_duration;
        role.no_store = named.no_store;
        role.issuer_ref = named.issuer_ref;
        if constraints.is_none() {
            role.basic_constraints_valid_for_non_ca = named.basic_constraints_valid_for_non_ca;
        }
    }
    Ok(role)
}

/// Reads a signing request in PEM.
///
/// # Errors
/// What the client reads.
pub(super) fn parse_csr(text: &str) -> Result<CertificateRequest, Error> {
    if text.is_empty() {
        return Err(Error::invalid("\"csr\" is empty"));
    }
    let block = decode_pem(text).filter(|_| text.len() <= LONGEST_CSR);
    let (block, _) = block.ok_or_else(|| Error::invalid("csr contains no data"))?;
    CertificateRequest::from_der(&block.der).map_err(|error| match error {
        X509Error::Unsupported(_) => Error::invalid(
            "Refusing to sign CSR with empty PublicKey. This usually means the \
             SubjectPublicKeyInfo field has an OID not recognized by Go, such as \
             1.2.840.113549.1.1.10 for rsaPSS.",
        ),
        error => Error::invalid(format!("certificate request could not be parsed: {error}")),
    })
}

/// Checks that the key of a request is one that the role takes. A role that takes any is made one
/// for this kind.
pub(super) fn check_csr_key(role: &mut Role, csr: &CertificateRequest) -> Result<(), Error> {
    let algorithm = csr.public_key.algorithm();
    let bits = match algorithm {
        KeyAlgorithm::Rsa(bits) => i64::from(bits),
        KeyAlgorithm::Ec(curve) => curve.bits().into(),
        KeyAlgorithm::Ed25519 => 0,
    };
    let kind = algorithm.as_str();
    if role.key_type == "any" {
        if kind == "rsa" && bits < 2048 {
            return Err(Error::invalid("RSA keys < 2048 bits are unsafe and not supported"));
        }
        role.key_bits = if kind == "rsa" { 2048 } else { 0 };
        let checked = checked_signature_bits(kind, role.signature_bits);
        role.signature_bits = checked.map_err(|problem| {
            fault(format!("unknown internal error updating default values: {problem}"))
        })?;
    } else if role.key_type != kind {
        return Err(Error::invalid(format!("role requires keys of type {}", role.key_type)));
    }
    if kind != "ed25519" && bits < role.key_bits {
        return Err(Error::invalid(format!(
            "role requires a minimum of a {}-bit key, but CSR's key is {bits} bits",
            role.key_bits
        )));
    }
    if kind == "rsa" && bits < 2048 {
        return Err(Error::invalid(format!(
            "OpenBao requires a minimum of a 2048-bit key, but CSR's key is {bits} bits"
        )));
    }
    Ok(())
}
