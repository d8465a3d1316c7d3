//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Update], "A token for an SVID.").fields(&[
        Field::string("role", "The role.").required(),
        Field::string("jwt", "A JWT-SVID; else the bearer token, else the client certificate."),
        Field::string("token", "The same under another name."),
    ]),
    Route::new("config", &[Read, Update], "The trust domain and its bundle.").fields(&[
        Field::string("trust_domain", "The trust domain, such as `demo.local`.").required(),
        Field::string(
            "profile",
            "`static`, `https_web_bundle`, `https_web_pem` or `https_spiffe_bundle`.",
        )
        .required(),
        Field::string("endpoint_url", "Where the bundle is fetched."),
        Field::string("endpoint_spiffe_id", "Who the endpoint is, by its SVID."),
        Field::string("endpoint_root_ca_truststore_pem", "CA certificates for the endpoint."),
        Field::string("bundle", "The bundle, as JSON or PEM; or the first one."),
        Field::strings("audience", "What `aud` of a JWT-SVID must hold one of."),
        Field::bool("defer_bundle_fetch", "Whether a failing endpoint is only warned of."),
    ]),
    Route::new("role", &[List], "List the roles.").fields(&[
        Field::string("after", "Only names after this one."),
        Field::integer("limit", "At most so many names."),
    ]),
    Route::new("role/{name}", &[Read, Create, Update, Delete], "Which workloads log in.").fields(
        &[
            Field::string("name", "Name of the role. Case does not matter."),
            Field::strings("workload_id_patterns", "Paths of SPIFFE IDs, with `+` and `*`.")
                .required(),
            Field::string("display_name", "Goes into tokens' display names; else the SPIFFE ID."),
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
        ],
    ),
];
