//! What is served.

use holdfast_logical::Operation::{Delete, List, Patch, Read, Update};
use holdfast_logical::{Field, Route};

const ISSUE: &[Field] = &[
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::string("role", "Name of the role."),
    Field::bool("remove_roots_from_chain", "Leave roots out of `ca_chain`."),
    Field::strings("user_ids", "User ids of the subject."),
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("key_type", "`rsa`, `ec` or `ed25519`."),
    Field::integer("key_bits", "Size of the key."),
];

const SIGN: &[Field] = &[
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::string("role", "Name of the role."),
    Field::bool("remove_roots_from_chain", "Leave roots out of `ca_chain`."),
    Field::strings("user_ids", "User ids of the subject."),
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("csr", "The request, in PEM."),
];

const VERBATIM: &[Field] = &[
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::string("role", "Name of the role."),
    Field::bool("remove_roots_from_chain", "Leave roots out of `ca_chain`."),
    Field::strings("user_ids", "User ids of the subject."),
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("csr", "The request, in PEM."),
    Field::strings("key_usage", "What the key may do."),
    Field::strings("ext_key_usage", "What the certificate is for."),
    Field::strings("ext_key_usage_oids", "The same by object identifier."),
    Field::integer("signature_bits", "Size of the hash in signatures."),
    Field::bool("use_pss", "Sign with RSA-PSS."),
    Field::bool(
        "basic_constraints_valid_for_non_ca",
        "Say that the certificate is no authority's.",
    ),
];

const ROOT: &[Field] = &[
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::strings("ou", "OU of the subject."),
    Field::strings("organization", "O of the subject."),
    Field::strings("country", "C of the subject."),
    Field::strings("locality", "L of the subject."),
    Field::strings("province", "ST of the subject."),
    Field::strings("street_address", "Street of the subject."),
    Field::strings("postal_code", "Postal code of the subject."),
    Field::duration("not_before_duration", "How long before now it is valid from."),
    Field::strings("key_usage", "What the key may do."),
    Field::strings("ext_key_usage", "What the certificate is for."),
    Field::strings("ext_key_usage_oids", "The same by object identifier."),
    Field::string("exported", "`internal`, `exported` or `existing`."),
    Field::string("key_type", "`rsa`, `ec` or `ed25519`."),
    Field::integer("key_bits", "Size of the key."),
    Field::integer("signature_bits", "Size of the hash in signatures."),
    Field::bool("use_pss", "Sign with RSA-PSS."),
    Field::string("external_key_ref", "A key in a key management service; not supported."),
    Field::string("key_name", "Name for the key."),
    Field::string("key_ref", "The key to use with `existing`."),
    Field::integer("max_path_length", "How many authorities may follow."),
    Field::strings("permitted_dns_domains", "DNS names that certificates are limited to."),
    Field::string("issuer_name", "Name for the issuer."),
];

const INTERMEDIATE: &[Field] = &[
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::strings("ou", "OU of the subject."),
    Field::strings("organization", "O of the subject."),
    Field::strings("country", "C of the subject."),
    Field::strings("locality", "L of the subject."),
    Field::strings("province", "ST of the subject."),
    Field::strings("street_address", "Street of the subject."),
    Field::strings("postal_code", "Postal code of the subject."),
    Field::duration("not_before_duration", "How long before now it is valid from."),
    Field::string("exported", "`internal`, `exported` or `existing`."),
    Field::string("key_type", "`rsa`, `ec` or `ed25519`."),
    Field::integer("key_bits", "Size of the key."),
    Field::integer("signature_bits", "Size of the hash in signatures."),
    Field::bool("use_pss", "Sign with RSA-PSS."),
    Field::string("external_key_ref", "A key in a key management service; not supported."),
    Field::string("key_name", "Name for the key."),
    Field::string("key_ref", "The key to use with `existing`."),
    Field::bool("add_basic_constraints", "Ask for an authority's certificate in so many words."),
];

const SIGN_CA: &[Field] = &[
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("format", "`pem`, `der` or `pem_bundle`."),
    Field::string("private_key_format", "`der` or `pkcs8`."),
    Field::bool("exclude_cn_from_sans", "Leave the common name out of the alternative names."),
    Field::strings("ip_sans", "Addresses to certify."),
    Field::strings("uri_sans", "URIs to certify."),
    Field::strings("other_sans", "Names of other kinds, as `<oid>;utf8:<value>`."),
    Field::string("common_name", "The common name."),
    Field::string("alt_names", "DNS names and mail addresses, with commas between."),
    Field::string("serial_number", "The subject's serial number, not the certificate's."),
    Field::duration("ttl", "How long it is valid."),
    Field::string("not_before", "Valid from this time, in RFC 3339."),
    Field::string("not_after", "Valid until this time, in RFC 3339."),
    Field::strings("ou", "OU of the subject."),
    Field::strings("organization", "O of the subject."),
    Field::strings("country", "C of the subject."),
    Field::strings("locality", "L of the subject."),
    Field::strings("province", "ST of the subject."),
    Field::strings("street_address", "Street of the subject."),
    Field::strings("postal_code", "Postal code of the subject."),
    Field::duration("not_before_duration", "How long before now it is valid from."),
    Field::strings("key_usage", "What the key may do."),
    Field::strings("ext_key_usage", "What the certificate is for."),
    Field::strings("ext_key_usage_oids", "The same by object identifier."),
    Field::integer("max_path_length", "How many authorities may follow."),
    Field::strings("permitted_dns_domains", "DNS names that certificates are limited to."),
    Field::string("issuer_name", "Name for the issuer."),
    Field::string("csr", "The request, in PEM."),
    Field::integer("signature_bits", "Size of the hash in signatures."),
    Field::bool("use_pss", "Sign with RSA-PSS."),
    Field::bool("use_csr_values", "Take subject and extensions from the request."),
    Field::string("skid", "The name of the key, in hexadecimal."),
];

const SELF_ISSUED: &[Field] = &[
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("certificate", "The root, in PEM."),
    Field::bool(
        "require_matching_certificate_algorithms",
        "Refuse keys of another kind than ours.",
    ),
];

const IMPORT: &[Field] = &[Field::string("pem_bundle", "Certificates and keys, in PEM.")];

const SET_SIGNED: &[Field] = &[Field::string("certificate", "Certificates, in PEM.")];

const ROLE: &[Field] = &[
    Field::string("name", "Name of the role."),
    Field::duration("ttl", "Life of certificates that ask for none."),
    Field::duration("max_ttl", "The longest life."),
    Field::bool("allow_localhost", "Allow `localhost` and `localdomain`."),
    Field::bool("allowed_domains_template", "`allowed_domains` may name the caller's identity."),
    Field::bool(
        "allow_globs_in_identity_templates",
        "Kept and shown; what is filled in holds no `*`.",
    ),
    Field::bool("allow_bare_domains", "Allow the domains themselves."),
    Field::bool("allow_subdomains", "Allow names below the domains."),
    Field::bool("allow_glob_domains", "Domains may hold `*`."),
    Field::bool("allow_wildcard_certificates", "Allow names such as `*.example.com`."),
    Field::bool("allow_any_name", "Allow every name."),
    Field::bool("enforce_hostnames", "Take only names of hosts."),
    Field::bool("allow_ip_sans", "Allow addresses."),
    Field::bool("allowed_uri_sans_template", "`allowed_uri_sans` may name the caller's identity."),
    Field::bool("server_flag", "For TLS servers."),
    Field::bool("client_flag", "For TLS clients."),
    Field::bool("code_signing_flag", "For signing code."),
    Field::bool("email_protection_flag", "For mail."),
    Field::bool("use_csr_common_name", "Take the common name from the request."),
    Field::bool("use_csr_sans", "Take the alternative names from the request."),
    Field::bool("generate_lease", "Give each certificate a lease."),
    Field::bool("no_store", "Do not store certificates."),
    Field::bool("require_cn", "A common name is required."),
    Field::bool(
        "basic_constraints_valid_for_non_ca",
        "Say that the certificate is no authority's.",
    ),
    Field::strings("allowed_domains", "Domains that names may be of."),
    Field::strings("allowed_ip_sans_cidr", "Networks that addresses must be in."),
    Field::strings("allowed_uri_sans", "URIs that are allowed; may hold `*`."),
    Field::strings("allowed_other_sans", "Names of other kinds that are allowed."),
    Field::strings("allowed_serial_numbers", "Subjects' serial numbers that are allowed."),
    Field::strings("allowed_user_ids", "User ids that are allowed."),
    Field::strings(
        "cn_validations",
        "How common names are checked: `email`, `hostname`, `disabled`.",
    ),
    Field::strings("policy_identifiers", "Policies, dotted or as JSON with notices."),
    Field::string("key_type", "`rsa`, `ec` or `ed25519`."),
    Field::integer("key_bits", "Size of the key."),
    Field::integer("signature_bits", "Size of the hash in signatures."),
    Field::bool("use_pss", "Sign with RSA-PSS."),
    Field::strings("key_usage", "What the key may do."),
    Field::strings("ext_key_usage", "What the certificate is for."),
    Field::strings("ext_key_usage_oids", "The same by object identifier."),
    Field::strings("ou", "OU of the subject."),
    Field::strings("organization", "O of the subject."),
    Field::strings("country", "C of the subject."),
    Field::strings("locality", "L of the subject."),
    Field::strings("province", "ST of the subject."),
    Field::strings("street_address", "Street of the subject."),
    Field::strings("postal_code", "Postal code of the subject."),
    Field::duration("not_before_duration", "How long before now certificates are valid from."),
    Field::string("not_before", "Valid from this time."),
    Field::string("not_before_bound", "`permit`, `duration` or `forbid` what requests ask for."),
    Field::string("not_after", "Valid until this time."),
    Field::string("not_after_bound", "`permit`, `ttl-limited`, `forbid`, or a latest time."),
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
];

const ISSUER: &[Field] = &[
    Field::string("issuer_ref", "Id or name of the issuer, or `default`."),
    Field::string("issuer_name", "Name of the issuer."),
    Field::strings("manual_chain", "The chain, itself first; worked out where it is empty."),
    Field::string(
        "leaf_not_after_behavior",
        "`err`, `truncate` or `permit` where a certificate would outlive it.",
    ),
    Field::strings("usage", "What it may be used for."),
    Field::string("revocation_signature_algorithm", "How its lists are signed."),
    Field::bool("enable_aia_url_templating", "Its URLs name what is filled in."),
    Field::strings("issuing_certificates", "Where the issuer's certificate is."),
    Field::strings("crl_distribution_points", "Where revocation lists are."),
    Field::strings("delta_crl_distribution_points", "Where lists are that add to them."),
    Field::strings("ocsp_servers", "Where OCSP is answered."),
];

const REF: &[Field] = &[Field::string("issuer_ref", "Id or name of the issuer, or `default`.")];

const PAGE: &[Field] = &[
    Field::string("after", "Begin after this entry."),
    Field::integer("limit", "Give at most this many."),
];

const URLS: &[Field] = &[
    Field::strings("issuing_certificates", "Where the issuer's certificate is."),
    Field::strings("crl_distribution_points", "Where revocation lists are."),
    Field::strings("delta_crl_distribution_points", "Where lists are that add to them."),
    Field::strings("ocsp_servers", "Where OCSP is answered."),
    Field::bool("enable_templating", "They name what is filled in."),
];

const KEY: &[Field] = &[
    Field::string("key_ref", "Id or name of the key, or `default`."),
    Field::string("key_name", "Name of the key."),
];

const GENERATE_KEY: &[Field] = &[
    Field::string("key_type", "`rsa`, `ec` or `ed25519`."),
    Field::integer("key_bits", "Size of the key."),
    Field::string("key_name", "Name for the key."),
    Field::string("external_key_ref", "A key in a key management service; not supported."),
];

const IMPORT_KEY: &[Field] = &[
    Field::string("key_name", "Name for the key."),
    Field::string("pem_bundle", "The key, in PEM."),
];

const TIDY: &[Field] = &[
    Field::bool("tidy_cert_store", "Forget certificates that expired."),
    Field::bool("tidy_revocation_list", "The older name of `tidy_revoked_certs`."),
    Field::bool("tidy_revoked_certs", "Forget revoked certificates that expired."),
    Field::bool("tidy_invalid_certs", "Forget what is no certificate."),
    Field::bool(
        "tidy_revoked_cert_issuer_associations",
        "Find the issuers of revoked certificates.",
    ),
    Field::bool("tidy_expired_issuers", "Remove issuers that expired long ago."),
    Field::bool("tidy_move_legacy_ca_bundle", "Has no effect: there is no older layout."),
    Field::bool("tidy_acme", "Has no effect: there are no ACME accounts."),
    Field::duration("safety_buffer", "How long after their end certificates are kept."),
    Field::duration("revoked_safety_buffer", "The same for revoked ones."),
    Field::duration("issuer_safety_buffer", "The same for issuers."),
    Field::duration("acme_account_safety_buffer", "Has no effect."),
    Field::integer("page_size", "How many entries are read at a time."),
    Field::string("pause_duration", "The pause after each entry."),
];

const AUTO_TIDY: &[Field] = &[
    Field::bool("enabled", "Whether it happens."),
    Field::duration("interval_duration", "How long from one to the next."),
    Field::bool("maintain_stored_certificate_counts", "Kept and shown; nothing is counted."),
    Field::bool("publish_stored_certificate_count_metrics", "Kept and shown; nothing is counted."),
    Field::bool("tidy_cert_store", "Forget certificates that expired."),
    Field::bool("tidy_revocation_list", "The older name of `tidy_revoked_certs`."),
    Field::bool("tidy_revoked_certs", "Forget revoked certificates that expired."),
    Field::bool("tidy_invalid_certs", "Forget what is no certificate."),
    Field::bool(
        "tidy_revoked_cert_issuer_associations",
        "Find the issuers of revoked certificates.",
    ),
    Field::bool("tidy_expired_issuers", "Remove issuers that expired long ago."),
    Field::bool("tidy_move_legacy_ca_bundle", "Has no effect: there is no older layout."),
    Field::bool("tidy_acme", "Has no effect: there are no ACME accounts."),
    Field::duration("safety_buffer", "How long after their end certificates are kept."),
    Field::duration("revoked_safety_buffer", "The same for revoked ones."),
    Field::duration("issuer_safety_buffer", "The same for issuers."),
    Field::duration("acme_account_safety_buffer", "Has no effect."),
    Field::integer("page_size", "How many entries are read at a time."),
    Field::string("pause_duration", "The pause after each entry."),
];

const CRL: &[Field] = &[
    Field::string("expiry", "How long a list holds."),
    Field::bool("disable", "Lists are empty."),
    Field::bool("ocsp_disable", "OCSP is not answered."),
    Field::string("ocsp_expiry", "How long an OCSP answer holds."),
    Field::bool("auto_rebuild", "Rebuild lists before they end, not at each revocation."),
    Field::string("auto_rebuild_grace_period", "How long before."),
    Field::bool("enable_delta", "Build lists that add to the complete ones."),
    Field::string("delta_rebuild_interval", "How often."),
    Field::bool("allow_expired_cert_revocation", "Expired certificates can be revoked."),
];

const SERIAL: &[Field] = &[Field::string("serial", "Serial number, in hexadecimal.")];

const REVOKE: &[Field] = &[
    Field::string("serial_number", "Serial number of a certificate that is stored here."),
    Field::string("certificate", "The certificate, in PEM."),
];

const REVOKE_WITH_KEY: &[Field] = &[
    Field::string("serial_number", "Serial number of a certificate that is stored here."),
    Field::string("certificate", "The certificate, in PEM."),
    Field::string("private_key", "Its key, in PEM."),
];

const OCSP: &[Field] = &[Field::string("req", "The question, in base64.")];

const DEFAULT: &[Field] = &[Field::string("default", "Its id or name.")];

const CONFIG_ISSUERS: &[Field] = &[
    Field::string("default", "Its id or name."),
    Field::bool("default_follows_latest_issuer", "New issuers become the default."),
];

const CLUSTER: &[Field] = &[
    Field::string("path", "Address of the API."),
    Field::string("aia_path", "Address for what needs no TLS."),
];

pub(super) const ROUTES: &[Route] = &[
    Route::new("roles", &[List], "List the roles.").fields(PAGE),
    Route::new("roles/{name}", &[Read, Update, Patch, Delete], "What may be issued.").fields(ROLE),
    Route::new("issue/{role}", &[Update], "Issue a certificate with a new key.").fields(ISSUE),
    Route::new("issuer/{issuer_ref}/issue/{role}", &[Update], "The same with this issuer.")
        .fields(ISSUE),
    Route::new("sign/{role}", &[Update], "Issue a certificate for a request.").fields(SIGN),
    Route::new("issuer/{issuer_ref}/sign/{role}", &[Update], "The same with this issuer.")
        .fields(SIGN),
    Route::new(
        "sign-verbatim",
        &[Update],
        "Issue what a request asks for, without a role's limits.",
    )
    .fields(VERBATIM),
    Route::new("sign-verbatim/{role}", &[Update], "The same with a role's lives.").fields(VERBATIM),
    Route::new("issuer/{issuer_ref}/sign-verbatim", &[Update], "The same with this issuer.")
        .fields(VERBATIM),
    Route::new("issuer/{issuer_ref}/sign-verbatim/{role}", &[Update], "The same with this issuer.")
        .fields(VERBATIM),
    Route::new("root", &[Delete], "Remove all issuers and keys."),
    Route::new("root/generate/{exported}", &[Update], "Make a root.").fields(ROOT),
    Route::new("issuers/generate/root/{exported}", &[Update], "Make a root.").fields(ROOT),
    Route::new("root/rotate/{exported}", &[Update], "Make a root that is called `next`.")
        .fields(ROOT),
    Route::new("root/replace", &[Update], "Make another root the default.").fields(DEFAULT),
    Route::new("root/sign-intermediate", &[Update], "Sign an intermediate.").fields(SIGN_CA),
    Route::new("issuer/{issuer_ref}/sign-intermediate", &[Update], "The same with this issuer.")
        .fields(SIGN_CA),
    Route::new("root/sign-self-issued", &[Update], "Sign a root of someone else.")
        .fields(SELF_ISSUED),
    Route::new("issuer/{issuer_ref}/sign-self-issued", &[Update], "The same with this issuer.")
        .fields(SELF_ISSUED),
    Route::new("intermediate/generate/{exported}", &[Update], "Make a key and a request for it.")
        .fields(INTERMEDIATE),
    Route::new(
        "issuers/generate/intermediate/{exported}",
        &[Update],
        "Make a key and a request for it.",
    )
    .fields(INTERMEDIATE),
    Route::new("intermediate/cross-sign", &[Update], "Make a request for a key that is here.")
        .fields(INTERMEDIATE),
    Route::new("intermediate/set-signed", &[Update], "Take in what others signed.")
        .fields(SET_SIGNED),
    Route::new("config/ca", &[Update], "Take in certificates and keys.").fields(IMPORT),
    Route::new("issuers/import/bundle", &[Update], "Take in certificates and keys.").fields(IMPORT),
    Route::new("issuers/import/cert", &[Update], "Take in certificates.").fields(IMPORT),
    Route::new("config/issuers", &[Read, Update], "The default issuer.").fields(CONFIG_ISSUERS),
    Route::new("config/keys", &[Read, Update], "The default key.").fields(DEFAULT),
    Route::new("config/urls", &[Read, Update], "URLs in certificates.").fields(URLS),
    Route::new("config/cluster", &[Read, Update], "Where this mount is reached.").fields(CLUSTER),
    Route::new("config/crl", &[Read, Update], "How revocations are published.").fields(CRL),
    Route::new("config/auto-tidy", &[Read, Update], "What is tidied again and again.")
        .fields(AUTO_TIDY),
    Route::new("issuers", &[List], "List the issuers.").fields(PAGE),
    Route::new("issuer/{issuer_ref}", &[Read, Update, Patch, Delete], "An issuer.").fields(ISSUER),
    Route::new("issuer/{issuer_ref}/json", &[Read], "Its public parts.").fields(REF),
    Route::new("issuer/{issuer_ref}/der", &[Read], "Its certificate, in DER.").fields(REF),
    Route::new("issuer/{issuer_ref}/pem", &[Read], "Its certificate, in PEM.").fields(REF),
    Route::new("issuer/{issuer_ref}/revoke", &[Update], "Revoke an issuer.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl", &[Read], "Its revocation list.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl/der", &[Read], "Its revocation list.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl/pem", &[Read], "Its revocation list.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl/delta", &[Read], "Its revocation list.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl/delta/der", &[Read], "Its revocation list.").fields(REF),
    Route::new("issuer/{issuer_ref}/crl/delta/pem", &[Read], "Its revocation list.").fields(REF),
    Route::new("keys", &[List], "List the keys.").fields(PAGE),
    Route::new("keys/generate/internal", &[Update], "Make a key.").fields(GENERATE_KEY),
    Route::new("keys/generate/exported", &[Update], "Make a key and give it out.")
        .fields(GENERATE_KEY),
    Route::new("keys/generate/kms", &[Update], "Not supported.").fields(GENERATE_KEY),
    Route::new("keys/import", &[Update], "Take in a key.").fields(IMPORT_KEY),
    Route::new("key/{key_ref}", &[Read, Update, Delete], "A key.").fields(KEY),
    Route::new("certs", &[List], "List the certificates.").fields(PAGE),
    Route::new("certs/detailed", &[List], "List them with what they say.").fields(PAGE),
    Route::new("certs/revoked", &[List], "List the revoked certificates.").fields(PAGE),
    Route::new("cert/ca_chain", &[Read], "The default issuer's chain."),
    Route::new("cert/crl", &[Read], "The default issuer's revocation list."),
    Route::new("cert/delta-crl", &[Read], "The list that adds to it."),
    Route::new("cert/{serial}", &[Read], "A certificate.").fields(SERIAL),
    Route::new("cert/{serial}/raw", &[Read], "The same in DER.").fields(SERIAL),
    Route::new("cert/{serial}/raw/pem", &[Read], "The same in PEM.").fields(SERIAL),
    Route::new("ca", &[Read], "The default issuer's certificate, in DER."),
    Route::new("ca/pem", &[Read], "The same in PEM."),
    Route::new("ca_chain", &[Read], "The default issuer's chain, in PEM."),
    Route::new("crl", &[Read], "The default issuer's revocation list, in DER."),
    Route::new("crl/pem", &[Read], "The same in PEM."),
    Route::new("crl/delta", &[Read], "The list that adds to it, in DER."),
    Route::new("crl/delta/pem", &[Read], "The same in PEM."),
    Route::new("crl/rotate", &[Read], "Rebuild the lists."),
    Route::new("crl/rotate-delta", &[Read], "Rebuild what adds to them."),
    Route::new("revoke", &[Update], "Revoke a certificate.").fields(REVOKE),
    Route::new("revoke-with-key", &[Update], "Revoke a certificate whose key one has.")
        .fields(REVOKE_WITH_KEY),
    Route::new("ocsp", &[Update], "Ask for a certificate's status."),
    Route::new("ocsp/{req*}", &[Read], "The same with the question in the path.").fields(OCSP),
    Route::new("tidy", &[Update], "Forget what has expired.").fields(TIDY),
    Route::new("tidy-cancel", &[Update], "End a run."),
    Route::new("tidy-status", &[Read], "How a run goes."),
];
