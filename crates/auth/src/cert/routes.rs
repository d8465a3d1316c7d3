//! What is served.

use holdfast_logical::Operation::{Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const NAME: Field = Field::string("name", "The name. Case does not matter.");
const PAGE: &[Field] = &[
    Field::string("after", "Only names after this one."),
    Field::integer("limit", "At most so many names."),
];

pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Update], "A token for a TLS client certificate.").fields(&[
        Field::string("name", "The trusted certificate to log in by; any where none is named."),
    ]),
    Route::new("config", &[Read, Update], "What holds for all logins.").fields(&[
        Field::bool("disable_binding", "Whether renewals do without the login's certificate."),
        Field::bool(
            "enable_identity_alias_metadata",
            "Whether a login's metadata becomes its alias's, too.",
        ),
        Field::integer("ocsp_cache_size", "Taken and not used."),
    ]),
    Route::new("certs", &[List], "List the trusted certificates.").fields(PAGE),
    Route::new("certs/{name}", &[Read, Update, Delete], "Whom a certificate lets in.").fields(&[
        NAME,
        Field::string("certificate", "One client's certificate, or authorities', in PEM.")
            .required(),
        Field::string("display_name", "Goes into tokens' display names; else the name."),
        Field::strings("allowed_names", "Globs for a common name, DNS name or mail address."),
        Field::strings("allowed_common_names", "Globs for the common name."),
        Field::strings("allowed_dns_sans", "Globs for a DNS name."),
        Field::strings("allowed_email_sans", "Globs for a mail address."),
        Field::strings("allowed_uri_sans", "Globs for a URI."),
        Field::strings("allowed_organizational_units", "Globs for an organizational unit."),
        Field::strings("required_extensions", "Extensions that must be there, as `oid:glob`."),
        Field::strings("allowed_metadata_extensions", "Extensions that become metadata, by oid."),
        Field::bool("ocsp_enabled", "Not supported."),
        Field::string("ocsp_ca_certificates", "Taken and not used."),
        Field::strings("ocsp_servers_override", "Taken and not used."),
        Field::bool("ocsp_fail_open", "Taken and not used."),
        Field::bool("ocsp_query_all_servers", "Taken and not used."),
        Field::strings("policies", "Older name of token_policies."),
        Field::integer("lease", "Older name of ttl."),
        Field::duration("ttl", "Older name of token_ttl."),
        Field::duration("max_ttl", "Older name of token_max_ttl."),
        Field::duration("period", "Older name of token_period."),
        Field::strings("bound_cidrs", "Older name of token_bound_cidrs."),
        Field::strings("token_bound_cidrs", "Where logins may come from, and tokens be used."),
        Field::duration("token_explicit_max_ttl", "An end that no renewal passes."),
        Field::duration("token_max_ttl", "The longest life with renewals."),
        Field::bool("token_no_default_policy", "Leaves the policy default out."),
        Field::integer("token_num_uses", "How often a token can be used; 0 for any number."),
        Field::duration("token_period", "Each renewal gives this much again, without end."),
        Field::strings("token_policies", "Policies of the tokens."),
        Field::bool("token_strictly_bind_ip", "Binds a token to the address that logged in."),
        Field::duration("token_ttl", "Life at first."),
        Field::string("token_type", "`service`, `batch` or `default`."),
    ]),
    Route::new("crls", &[List], "List the revocation lists.").fields(PAGE),
    Route::new("crls/{name}", &[Read, Update, Delete], "A revocation list.").fields(&[
        NAME,
        Field::string("crl", "The list, in PEM or DER."),
        Field::string("url", "Where to fetch it, now and whenever its next issue is due."),
    ]),
];
