//! Making roots.

use holdfast_keys::x509::{
    Certificate, CertificateRequest, CertificateTemplate, Extension, GeneralName, Hash, KeyUsage,
    PrivateKey, SignatureAlgorithm,
};
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::{Map, Value, json};

use super::Engine;
use super::ca_request::{CaRequest, path_length};
use super::error::{failed, fault};
use super::extensions::Extensions;
use super::generate::key_algorithm;
use super::issuers::issuer_name;
use super::keys::{KeySource, key_name};
use super::output::{Format, base64, put_key};
use super::profile::{Asked, Profile, extended_key_usage_extension, key_usage};
use super::role::Role;
use super::serial;
use super::urls::Urls;
use super::validity::unix_seconds;

/// What is said of a mount without URLs.
pub(super) const NO_URLS: &str = "This mount hasn't configured any authority information access \
    (AIA) fields; this may make it harder for systems to find missing certificates in the chain or \
    to validate revocation status of certificates. Consider updating /config/urls or the newly \
    generated issuer with this information.";

/// What is said of an authority without a name.
pub(super) const NO_SUBJECT: &str = "This issuer certificate was generated without a Subject; this \
    makes it likely that issuing leaf certs with this certificate will cause TLS validation \
    libraries to reject this certificate.";

/// The extensions of an authority's certificate, but for its alternative names, in the order in
/// which Go writes them.
pub(super) struct CaExtensions<'a> {
    pub(super) role: &'a Role,
    pub(super) path_length: Option<u64>,
    pub(super) subject_key_id: &'a [u8],
    pub(super) authority_key_id: &'a [u8],
    pub(super) urls: &'a Urls,
    pub(super) permitted_dns_domains: &'a [String],
}

impl CaExtensions<'_> {
    /// With these alternative names, and with what a request is taken over with.
    pub(super) fn build(
        &self,
        names: &[GeneralName],
        is_nameless: bool,
        taken_over: Option<&CertificateRequest>,
    ) -> Vec<Extension> {
        let mut usage = KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN);
        if key_usage(&self.role.key_usage).has(KeyUsage::DIGITAL_SIGNATURE) {
            usage = usage.with(KeyUsage::DIGITAL_SIGNATURE);
        }
        let urls = self.urls;
        let mut extensions = Extensions::new([
            Extension::key_usage(usage),
            extended_key_usage_extension(self.role),
            Some(Extension::basic_constraints(true, self.path_length)),
            Some(Extension::subject_key_id(self.subject_key_id)),
            Some(Extension::authority_key_id(self.authority_key_id)),
            Extension::authority_info_access(&urls.ocsp_servers, &urls.issuing_certificates),
        ]);
        extensions.names(names, is_nameless, taken_over.is_some());
        extensions.add(Extension::permitted_dns_domains(self.permitted_dns_domains));
        extensions.add(Extension::crl_distribution_points(&urls.crl_distribution_points));
        extensions.add_late(Extension::freshest_crl(&urls.delta_crl_distribution_points));
        extensions.build(taken_over)
    }
}

/// How a key signs where a role says so: a role that names no hash means SHA-256 and no PSS.
pub(super) fn signature_algorithm(key: &PrivateKey, role: &Role) -> SignatureAlgorithm {
    match Hash::from_bits(role.signature_bits) {
        Some(hash) => key.signature_algorithm(hash, role.use_pss),
        None => key.signature_algorithm(Hash::Sha256, false),
    }
}

impl Engine {
    /// `root/generate/...`; with `rotate`, the new root is called `next` unless it has a name.
    pub(super) async fn generate_root(
        &self,
        exported: &str,
        rotate: bool,
        request: &Request,
    ) -> Reply {
        let fields = request.fields();
        let authorities = self.store.authorities().await?;
        let asked = CaRequest::parse(exported, fields, &authorities)?;
        let mut name = issuer_name(&authorities, fields)?;
        if rotate && name.is_empty() && authorities.issuer("next").is_err() {
            "next".clone_into(&mut name);
        }
        let key_name = key_name(&authorities, fields)?;
        let profile = self.profile_of(&asked.role, request)?;
        let permitted = fields.strings("permitted_dns_domains")?.unwrap_or_default();

        let (urls, mut warnings) = self.urls_of_a_root().await?;
        warnings.splice(0..0, profile.warnings.iter().cloned());
        let made;
        let key = match &asked.existing {
            Some(key) => &key.pair,
            None => {
                let algorithm = key_algorithm(&asked.role.key_type, asked.role.key_bits)?;
                made = self.generator.generate(algorithm).await?;
                &made
            }
        };
        let certificate = self.self_sign(&asked.role, &profile, key, &urls, &permitted)?;
        if certificate.subject.is_empty() {
            warnings.push(NO_SUBJECT.to_owned());
        }
        if urls.is_empty() {
            warnings.push(NO_URLS.to_owned());
        }

        let mut data = self.root_data(&asked, &certificate, key, request)?;
        // The key once more, because the store keeps one of its own.
        let stored = PrivateKey::from_der(key.to_der()).map_err(failed("keep the key"))?;
        let mut change = self.store.change().await?;
        let (key, _) = change.add_key(stored, &key_name).map_err(importing)?;
        let algorithm = certificate.signature_algorithm;
        let stored = certificate.der.clone();
        let path = format!("certs/{}", serial::with_hyphens(&certificate.serial));
        let is_last = certificate.path_length == Some(0);
        let (issuer, _) = change.add_issuer(certificate, &name)?;
        let mut issuer = (*issuer).clone();
        issuer.entry.revocation_algorithm = algorithm.map(|a| a.as_str().to_owned());
        let id = issuer.entry.id.clone();
        let issuer = change.put_issuer(issuer)?;
        change.batch.put(path, stored);
        if change.authorities.config.default_follows_latest_issuer {
            change.set_default_issuer(&id)?;
        }
        change.commit().await?;

        data.insert("issuer_id".to_owned(), json!(issuer.entry.id));
        data.insert("issuer_name".to_owned(), json!(issuer.entry.name));
        data.insert("key_id".to_owned(), json!(key.entry.id));
        data.insert("key_name".to_owned(), json!(key.entry.name));
        for (index, warning) in self.rebuild_lists(true).await?.iter().enumerate() {
            warnings.push(format!("Warning {} during CRL rebuild: {warning}", index + 1));
        }
        if is_last {
            warnings.push(
                "Max path length of the generated certificate is zero. This certificate cannot be \
                 used to issue intermediate CA certificates."
                    .to_owned(),
            );
        }
        Ok(Some(Response { data: Some(data), warnings, ..Response::default() }))
    }

    /// What a request makes of a role, without a signing request or an issuer.
    pub(super) fn profile_of(&self, role: &Role, request: &Request) -> Result<Profile, Error> {
        let now = self.context.clock.now();
        Asked { role, request, csr: None, signer: None, now }.profile()
    }

    /// The mount's URLs, unless they name an issuer, which a root is not yet.
    async fn urls_of_a_root(&self) -> Result<(Urls, Vec<String>), Error> {
        let (urls, cluster) = (self.urls().await?, self.cluster().await?);
        let problem = match urls.resolve(&cluster, "") {
            Ok(urls) => return Ok((urls, Vec::new())),
            Err(problem) => problem,
        };
        if urls.resolve(&cluster, "empty-issuer-id").is_err() {
            return Err(fault(format!(
                "unable to parse AIA URL information: {problem}\nUsing templated AIA URL's \
                 {{{{issuer_id}}}} field when generating root certificates is not supported."
            )));
        }
        let warning = "When generating root CA, found global AIA configuration with issuer_id \
                       template unsuitable for root generation. This AIA configuration has been \
                       ignored. To include AIA on this root CA, set the global AIA configuration \
                       to not include issuer_id and instead to refer to a static issuer name.";
        Ok((Urls::default(), vec![warning.to_owned()]))
    }

    fn self_sign(
        &self,
        role: &Role,
        profile: &Profile,
        key: &PrivateKey,
        urls: &Urls,
        permitted: &[String],
    ) -> Result<Certificate, Error> {
        let subject = profile.subject.to_name();
        let key_id = key.public_key().key_id();
        let is_nameless = subject.is_empty();
        let extensions = CaExtensions {
            role,
            path_length: path_length(role.max_path_length.unwrap_or(-1))?,
            subject_key_id: &key_id,
            authority_key_id: &key_id,
            urls,
            permitted_dns_domains: permitted,
        };
        let template = CertificateTemplate {
            serial: serial::generate(&*self.context.random),
            subject,
            not_before: profile.not_before,
            not_after: profile.not_after,
            public_key: key.public_key().clone(),
            extensions: extensions.build(&profile.names, is_nameless, None),
        };
        let der = template.sign(&template.subject, key, signature_algorithm(key, role));
        let der = der.map_err(failed("sign a root"))?;
        Certificate::from_der(&der).map_err(failed("read back a root"))
    }

    fn root_data(
        &self,
        asked: &CaRequest,
        certificate: &Certificate,
        key: &PrivateKey,
        request: &Request,
    ) -> Result<Map<String, Value>, Error> {
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("expiration", json!(unix_seconds(certificate.not_after)));
        set("serial_number", json!(serial::with_colons(&certificate.serial)));
        let is_exported = asked.exported == KeySource::Exported;
        let text = match asked.format {
            Format::Der => base64(&certificate.der),
            Format::Pem | Format::PemBundle => certificate.to_pem(),
        };
        set("issuing_ca", json!(text));
        if is_exported && asked.format == Format::PemBundle {
            set("certificate", json!(format!("{}\n{text}", key.to_pem().expose())));
        } else {
            set("certificate", json!(text));
        }
        if is_exported {
            put_key(&mut data, key, asked.format, request.fields())?;
        }
        Ok(data)
    }
}

/// What OpenBao says where a key cannot be taken in.
fn importing(error: Error) -> Error {
    match error {
        Error::Status { status, message } => {
            let message = message.replacen("\t* ", "\t* error importing key: ", 1);
            Error::Status { status, message }
        }
        error => error,
    }
}
