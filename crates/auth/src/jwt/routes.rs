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
        Field::bool("skip_jwks_validation", "Whether keys that cannot be had are only warned of."),
        Field::string("oidc_client_id", "Who this server is to the issuer."),
        Field::string("oidc_client_secret", "Its secret there."),
        Field::string("oidc_response_mode", "`query` or `form_post`."),
        Field::strings("oidc_response_types", "`code` or `id_token`."),
        Field::bool("namespace_in_state", "Taken and not used."),
        Field::strings("override_allowed_server_names", "Not supported."),
        Field::object("provider_config", "Not supported."),
    ]),
    Route::new("oidc/auth_url", &[Update], "Where the user of a login by redirects logs in.")
        .fields(&[
            Field::string("role", "The role; the default one where none is named."),
            Field::string("redirect_uri", "Where the user comes back to.").required(),
            Field::string("client_nonce", "What the callback must bring again."),
        ]),
    Route::new("oidc/callback", &[Read], "A token for whoever comes back from the issuer.").fields(
        &[
            Field::string("state", "Names the login.").required(),
            Field::string("code", "What the issuer gave."),
            Field::string("client_nonce", "As it was given to `auth_url`."),
            Field::string("id_token", "Taken and not used."),
            Field::string("error", "Why the issuer refused."),
            Field::string("error_description", "The same at length."),
        ],
    ),
    Route::new("oidc/poll", &[Update], "For callback modes that are not supported.").fields(&[
        Field::string("state", "Names the login."),
        Field::string("client_nonce", "As it was given to `auth_url`."),
    ]),
    Route::new("role", &[List], "List the roles."),
    Route::new(
        "role/{name}",
        &[Read, Create, Update, Delete],
        "Whose JWTs are taken and what for.",
    )
    .fields(&[
        Field::string("name", "Name of the role. Case does not matter."),
        Field::string("role_type", "`oidc` for logins by redirects, else `jwt`."),
        Field::strings("allowed_redirect_uris", "Where users may come back to."),
        Field::strings("oidc_scopes", "What the issuer is asked for beside `openid`."),
        Field::strings("oauth2_metadata", "The issuer's tokens that become metadata."),
        Field::string("callback_mode", "`client`; others are not supported."),
        Field::integer("poll_interval", "Taken and not used."),
        Field::bool("oidc_disable_confirmation", "Taken and not used."),
        Field::duration("max_age", "How long ago the user may have logged in at the issuer."),
        Field::bool("verbose_oidc_logging", "Taken and not used."),
        Field::bool("user_claim_json_pointer", "Whether `user_claim` is a JSON pointer."),
        Field::bool("token_policies_template_claims", "Whether policies name claims."),
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
