//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Update], "A token for a signed JWT.").fields(&[
        Field::string("role", "The role; the default one where none is named."),
        Field::string("jwt", "The signed token.").required(),
    ]),
    Route::new("config", &[Read, Update], "Where the keys come from.").fields(&[
        Field::string("oidc_discovery_url", "The issuer, asked for its keys by OpenID discovery."),
        Field::string("oidc_discovery_ca_pem", "CA certificates for the issuer, in PEM."),
        Field::string("jwks_url", "Where the keys are."),
        Field::string("jwks_ca_pem", "CA certificates for `jwks_url`, in PEM."),
        Field::strings("jwt_validation_pubkeys", "The keys themselves, in PEM."),
        Field::strings("jwt_supported_algs", "Signature algorithms that are taken."),
        Field::string("bound_issuer", "What `iss` must be."),
        Field::string("default_role", "The role of logins that name none."),
    ]),
    Route::new("role", &[List], "List the roles."),
    Route::new(
        "role/{name}",
        &[Read, Create, Update, Delete],
        "Whose JWTs are taken and what for.",
    )
    .fields(&[
        Field::string("name", "Name of the role. Case does not matter."),
        Field::string("role_type", "`jwt`."),
        Field::strings("bound_audiences", "What `aud` must hold one of."),
        Field::string("bound_subject", "What `sub` must be."),
        Field::object("bound_claims", "What other claims must be."),
        Field::string("bound_claims_type", "`string`, or `glob` where `*` stands for any text."),
        Field::string("user_claim", "The claim that names the user.").required(),
        Field::string("groups_claim", "The claim that names groups."),
        Field::string_map("claim_mappings", "Claims that become metadata, by name."),
        Field::duration("expiration_leeway", "How long after its end a JWT is still taken."),
        Field::duration("not_before_leeway", "How long before its begin."),
        Field::duration("clock_skew_leeway", "How far clocks may differ."),
        Field::strings("token_policies", "Policies of the tokens."),
        Field::duration("token_ttl", "How long tokens live at first."),
        Field::duration("token_max_ttl", "How long tokens live with renewals."),
        Field::strings("token_bound_cidrs", "Networks that tokens can be used from."),
        Field::string("token_type", "`service`, `batch` or `default`."),
    ]),
];
