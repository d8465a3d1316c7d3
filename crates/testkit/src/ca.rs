//! A certificate authority for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};

/// A certificate authority that lives as long as a test.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

/// A certificate and its private key.
pub struct Leaf {
    /// The certificate alone, without its issuer.
    pub certificate_pem: String,
    /// The same in DER.
    pub certificate_der: Vec<u8>,
    /// The key, in PKCS #8.
    pub key_pem: String,
}

impl Ca {
    /// A new authority whose certificate's common name is `name`.
    pub fn new(name: &str) -> Self {
        Self::of(authority(name))
    }

    /// The same, valid for the year 2020 only.
    pub fn expired(name: &str) -> Self {
        let mut params = authority(name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        Self::of(params)
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("P-256 keys can be made");
        let certificate = params.self_signed(&key).expect("a CA can sign itself");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// An authority that this one has certified.
    pub fn intermediate(&self, name: &str) -> Self {
        let params = authority(name);
        let key = KeyPair::generate().expect("P-256 keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the CA can sign");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The same in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The authority's private key, in PKCS #8.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a server that is called `names`: DNS names, addresses, or URIs.
    pub fn server(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names that a certificate can hold");
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same, valid for the year 2020 only.
    pub fn expired_server(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client with this common name.
    pub fn client(&self, common_name: &str) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// An X.509-SVID: a client's and server's certificate without a common name, with `id` as its
    /// only URI.
    pub fn svid(&self, id: &str) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let id = id.try_into().expect("a URI is ASCII");
        params.subject_alt_names = vec![SanType::URI(id)];
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client's certificate with whatever else `change` makes of it.
    pub fn client_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        change(&mut params);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A revocation list with these numbers, in PEM. Its next issue is due in 2021.
    pub fn revocation_list(&self, serials: &[&[u8]]) -> String {
        let this_update = rcgen::date_time_ymd(2020, 1, 1);
        let next_update = rcgen::date_time_ymd(2021, 1, 1);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("the CA can sign");
        list.pem().expect("a list can be written as PEM")
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Leaf {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("P-256 keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the CA can sign");
        Leaf {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
