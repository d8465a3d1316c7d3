//! Signing other authorities.

use holdfast_keys::x509::{
    Certificate, CertificateRequest, CertificateTemplate, Extension, decode_pem, oids,
};
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::{Map, json};

use super::Engine;
use super::ca_request::{path_length, subject_role};
use super::error::{failed, fault};
use super::issue::{chain_texts, check_csr_key, parse_csr};
use super::issuer::LeafNotAfter;
use super::output::{Format, base64, issuer_text};
use super::profile::{Asked, Profile};
use super::role::Role;
use super::root::{CaExtensions, NO_SUBJECT, NO_URLS, signature_algorithm};
use super::route::reference;
use super::serial;
use super::store::{DEFAULT, Signer};
use super::urls::Urls;
use super::validity::unix_seconds;

impl Engine {
    /// The issuer that a path or a field names.
    pub(super) async fn named_signer(
        &self,
        issuer: Option<&str>,
        request: &Request,
    ) -> Result<Signer, Error> {
        let given = match issuer {
            Some(issuer) => issuer.to_owned(),
            None => request.fields().string("issuer_ref")?.unwrap_or_else(|| DEFAULT.to_owned()),
        };
        let named = reference(&given);
        if named.is_empty() {
            return Err(Error::invalid("missing issuer reference"));
        }
        self.store.authorities().await?.signer(named)
    }

    pub(super) async fn sign_intermediate(&self, issuer: Option<&str>, request: &Request) -> Reply {
        let fields = request.fields();
        let format =
            Format::parse(fields, "The \"format\" path parameter must be \"pem\" or \"der\"")?;
        let mut role = subject_role(fields)?;
        role.key_type = "any".to_owned();
        role.require_cn = false;
        role.signature_bits = fields.integer("signature_bits")?.unwrap_or_default();
        role.use_pss = fields.bool("use_pss")?.unwrap_or_default();
        role.not_before = fields.string("not_before")?.unwrap_or_default();
        role.use_csr_common_name = fields.string("common_name")?.unwrap_or_default().is_empty();

        let mut signer = self.named_signer(issuer, request).await?;
        let mut outliving = (*signer.issuer).clone();
        outliving.entry.leaf_not_after = LeafNotAfter::Permit;
        signer.issuer = outliving.into();

        let csr = parse_csr(&fields.string("csr")?.unwrap_or_default())?;
        check_csr_key(&mut role, &csr)?;
        let now = self.context.clock.now();
        let profile = Asked { role: &role, request, csr: Some(&csr), signer: Some(&signer), now }
            .profile()?;
        csr.check_signature().map_err(|_| Error::invalid("request signature invalid"))?;
        let as_in_csr = fields.bool("use_csr_values")?.unwrap_or_default();
        let permitted = fields.strings("permitted_dns_domains")?.unwrap_or_default();
        let issuer = &signer.issuer;
        let urls = self.urls_of(issuer.entry.urls.as_ref(), &issuer.entry.id).await?;
        let certificate =
            self.sign_ca(&role, &profile, &csr, as_in_csr, &signer, &urls, &permitted)?;

        let mut warnings = Vec::new();
        if issuer.certificate.not_after < certificate.not_after {
            warnings.push(
                "The expiration time for the signed certificate is after the CA's expiration time. \
                 If the new certificate is not treated as a root, validation paths with the \
                 certificate past the issuing CA's expiration time will fail."
                    .to_owned(),
            );
        }
        if certificate.subject.is_empty() {
            warnings.push(NO_SUBJECT.to_owned());
        }
        if urls.is_empty() {
            warnings.push(NO_URLS.to_owned());
        }
        if certificate.path_length == Some(0) {
            warnings.push(
                "Max path length of the signed certificate is zero. This certificate cannot be \
                 used to issue intermediate CA certificates."
                    .to_owned(),
            );
        }
        warnings.extend(profile.warnings);

        let stored = format!("certs/{}", serial::with_hyphens(&certificate.serial));
        self.context.storage.put(&stored, certificate.der.clone()).await?;
        let mut data = Map::new();
        data.insert("expiration".to_owned(), json!(unix_seconds(certificate.not_after)));
        data.insert("serial_number".to_owned(), json!(serial::with_colons(&certificate.serial)));
        let own = match format {
            Format::Der => base64(&certificate.der),
            Format::Pem | Format::PemBundle => certificate.to_pem(),
        };
        let above = chain_texts(&signer, format, false);
        let mut chain = vec![own.clone()];
        chain.extend(above);
        let text = if format == Format::PemBundle { chain.join("\n") } else { own };
        data.insert("certificate".to_owned(), text.into());
        data.insert("issuing_ca".to_owned(), issuer_text(issuer, format).into());
        data.insert("ca_chain".to_owned(), json!(chain));
        Ok(Some(Response { data: Some(data), warnings, ..Response::default() }))
    }

    #[expect(clippy::too_many_arguments, reason = "all that a certificate is made from")]
    fn sign_ca(
        &self,
        role: &Role,
        profile: &Profile,
        csr: &CertificateRequest,
        as_in_csr: bool,
        signer: &Signer,
        urls: &Urls,
        permitted: &[String],
    ) -> Result<Certificate, Error> {
        let parent = &signer.issuer.certificate;
        let path_length = match (parent.path_length, role.max_path_length) {
            (Some(0), _) => {
                return Err(Error::invalid(
                    "signing certificate has a max path length of zero, and cannot issue further \
                     CA certificates",
                ));
            }
            (_, Some(asked)) => path_length(asked)?,
            (Some(limit), None) => Some(u64::from(limit) - 1),
            (None, None) => None,
        };
        let subject = if as_in_csr { csr.subject.clone() } else { profile.subject.to_name() };
        let own_id = csr.public_key.key_id();
        let extensions = CaExtensions {
            role,
            path_length,
            subject_key_id: profile.subject_key_id.as_ref().unwrap_or(&own_id),
            authority_key_id: &authority_key_id(parent),
            urls,
            permitted_dns_domains: permitted,
        };
        let names = if as_in_csr { &csr.names } else { &profile.names };
        let extensions = extensions.build(names, subject.is_empty(), as_in_csr.then_some(csr));
        let template = CertificateTemplate {
            serial: serial::generate(&*self.context.random),
            subject,
            not_before: profile.not_before,
            not_after: profile.not_after,
            public_key: csr.public_key.clone(),
            extensions,
        };
        let key = &signer.key.pair;
        let der = template.sign(&parent.subject, key, signature_algorithm(key, role));
        let der = der.map_err(failed("sign an intermediate"))?;
        Certificate::from_der(&der).map_err(failed("read back an intermediate"))
    }

    /// Signs a root of someone else, so that ours leads to it.
    pub(super) async fn sign_self_issued(&self, issuer: Option<&str>, request: &Request) -> Reply {
        let fields = request.fields();
        let pem = fields.string("certificate")?.unwrap_or_default();
        let (block, _) = decode_pem(&pem)
            .filter(|(block, _)| !block.der.is_empty())
            .ok_or_else(|| Error::invalid("certificate could not be PEM-decoded"))?;
        let given = Certificate::from_der(&block.der)
            .map_err(|error| Error::invalid(format!("error parsing certificate: {error}")))?;
        if !given.is_ca {
            return Err(Error::invalid("given certificate is not a CA certificate"));
        }
        if given.issuer != given.subject {
            return Err(Error::invalid("given certificate is not self-issued"));
        }
        let signer = self.named_signer(issuer, request).await?;
        let issuer = &signer.issuer;
        let urls = self.urls_of(issuer.entry.urls.as_ref(), &issuer.entry.id).await?;
        let key = &signer.key.pair;
        let own = given.public_key.algorithm().as_str();
        if own != key.algorithm().as_str()
            && fields.bool("require_matching_certificate_algorithms")?.unwrap_or_default()
        {
            return Err(fault(format!(
                "signing certificate's public key algorithm ({}) does not match submitted \
                 certificate's ({}), and require_matching_certificate_algorithms is true",
                go_algorithm(key.algorithm().as_str()),
                go_algorithm(own)
            )));
        }
        let algorithm = given
            .signature_algorithm
            .filter(|algorithm| issuer.check_algorithm(*algorithm).is_ok())
            .unwrap_or_else(|| signature_algorithm(key, &Role::permissive()));
        let mut extensions: Vec<_> =
            given.extensions.iter().filter(|e| !is_of_the_issuer(e)).cloned().collect();
        extensions.push(Extension::authority_key_id(&authority_key_id(&issuer.certificate)));
        extensions.extend(Extension::authority_info_access(
            &urls.ocsp_servers,
            &urls.issuing_certificates,
        ));
        extensions.extend(Extension::crl_distribution_points(&urls.crl_distribution_points));
        let template = CertificateTemplate {
            serial: given.serial.clone(),
            subject: given.subject.clone(),
            not_before: given.not_before,
            not_after: given.not_after,
            public_key: given.public_key.clone(),
            extensions,
        };
        // A key on a curve signs with the curve's own hash, whatever the given certificate has.
        let der = template.sign(&issuer.certificate.subject, key, algorithm).or_else(|_| {
            let own = signature_algorithm(key, &Role::permissive());
            template.sign(&issuer.certificate.subject, key, own)
        });
        let der = der.map_err(failed("sign a root"))?;
        let certificate = Certificate::from_der(&der).map_err(failed("read back a root"))?;
        Ok(Some(Response::data(json!({
            "certificate": certificate.to_pem(),
            "issuing_ca": issuer.entry.certificate,
        }))))
    }
}

fn is_of_the_issuer(extension: &Extension) -> bool {
    [&oids::AUTHORITY_KEY_ID, &oids::AUTHORITY_INFO_ACCESS, &oids::CRL_DISTRIBUTION_POINTS]
        .contains(&&extension.oid)
}

fn go_algorithm(kind: &str) -> &str {
    match kind {
        "rsa" => "RSA",
        "ec" => "ECDSA",
        _ => "Ed25519",
    }
}

/// The name of the key that signs: the issuer's own, or what it would be.
pub(super) fn authority_key_id(issuer: &Certificate) -> Vec<u8> {
    issuer.subject_key_id.clone().unwrap_or_else(|| issuer.public_key.key_id())
}
