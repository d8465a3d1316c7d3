//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Update], "A token for a service account's.").fields(&[
        Field::string("role", "The role.").required(),
        Field::string("jwt", "The service account's token.").required(),
    ]),
    Route::new("config", &[Read, Update], "Where the cluster's API is.").fields(&[
        Field::string("kubernetes_host", "The API's host, or its URL with https://.").required(),
        Field::string("kubernetes_ca_cert", "CA certificates for it, in PEM; else the pod's own."),
        Field::string("token_reviewer_jwt", "What asks for reviews; else the pod's own token."),
        Field::strings("pem_keys", "What signs service account tokens, in PEM."),
        Field::string("issuer", "What `iss` must be, where that is validated."),
        Field::bool("disable_iss_validation", "Whether `iss` may be anything."),
        Field::bool("disable_local_ca_jwt", "Whether the pod's own files are left alone."),
    ]),
    Route::new("role", &[List], "List the roles.").fields(&[
        Field::string("after", "Only names after this one."),
        Field::integer("limit", "At most so many names."),
    ]),
    Route::new("role/{name}", &[Read, Create, Update, Delete], "Which service accounts log in.")
        .fields(&[
            Field::string("name", "Name of the role. Case does not matter."),
            Field::strings("bound_service_account_names", "Globs for their names.").required(),
            Field::strings("bound_service_account_namespaces", "Globs for their namespaces."),
            Field::string(
                "bound_service_account_namespace_selector",
                "Labels of their namespaces, as {\"matchLabels\": {...}}.",
            ),
            Field::string("audience", "What `aud` must hold."),
            Field::string(
                "alias_name_source",
                "`serviceaccount_uid`, or `serviceaccount_name` for <namespace>/<name>.",
            ),
            Field::strings("policies", "Older name of token_policies."),
            Field::integer("num_uses", "Older name of token_num_uses."),
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
];
