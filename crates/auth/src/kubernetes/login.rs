//! `login`: a service account's token for one of ours.

use std::collections::BTreeMap;

use holdfast_client::kubernetes::Api;
use holdfast_logical::{Auth, EntityAlias, Error, Reply, Request, Response};
use holdfast_types::{Chain, SecretString};
use serde_json::{Value, json};

use super::Kubernetes;
use super::api::review;
use super::config::Config;
use super::role::{AliasSource, Role};
use super::service_account::{JwtError, ServiceAccount};
use crate::{source_address, token_params};

const CHECK_CONFIG: &str = "compare the mount's config with the cluster";
const CHECK_ROLE: &str = "compare the service account with the role's bounds";

impl Kubernetes {
    /// `PUT login {role, jwt}`
    pub(super) async fn login(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let text = |name: &str| match fields.string(name).map_err(Error::field_validation)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Error::invalid(format!("missing {name}"))),
        };
        let (name, token) = (text("role")?, SecretString::new(text("jwt")?));
        let Some(role) = self.role(&name.to_lowercase()).await? else {
            return Err(Error::invalid(format!("invalid role name {name:?}")));
        };
        source_address::check(request, &role.tokens.params)?;
        let Some(config) = self.config().await? else {
            return Err(Error::invalid("could not load backend configuration"));
        };
        let account = self.read_token(&config, &role, &token)?;
        if !role.takes_name(&account.name) {
            return Err(forbidden("service account name not authorized", &account));
        }
        let by_name = role.takes_namespace(&account.namespace);
        if !by_name && role.selector().is_none() {
            return Err(forbidden("namespace not authorized", &account));
        }
        let denied = |reason: String| Error::Denied.because(reason, CHECK_CONFIG);
        let authority = config.authority(&self.local).await.map_err(denied)?;
        let fetcher = self.clients.trusting(&authority).await;
        let fetcher = fetcher.ok_or_else(|| denied("there is no authority to trust".to_owned()))?;
        let reviewer = config.reviewer(&self.local).await;
        let url = config.url();
        let caller = reviewer.as_ref().unwrap_or(&token);
        let api = Api { fetcher: &fetcher, url: &url, caller };
        review(api, &token, &account, &role.audience)
            .await
            .map_err(|error| denied(error.to_string()))?;
        if !by_name {
            check_labels(&role, reviewer.is_some().then_some(api), &account).await?;
        }
        Ok(Some(Response { auth: Some(auth(&name, role, &account)), ..Response::default() }))
    }

    /// A token lives on under the life that its role gives now, as long as there is the role.
    pub(super) async fn renew(&self, mut auth: Auth) -> Result<Auth, Error> {
        let name = auth.internal.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(role) = self.role(&name.to_lowercase()).await? else {
            return Err(Error::invalid(format!("role {name} does not exist during renewal")));
        };
        token_params::renew(&mut auth, &role.tokens.params);
        Ok(auth)
    }

    fn read_token(
        &self,
        config: &Config,
        role: &Role,
        token: &SecretString,
    ) -> Result<ServiceAccount, Error> {
        let (keys, issuer) = (config.keys()?, config.expected_issuer());
        let now = self.clock.now();
        let read = ServiceAccount::read(token.expose(), &keys, issuer, &role.audience, now);
        read.map_err(|error| match error {
            // What no key signed is told nothing of what it would have to be.
            JwtError::Form(_) | JwtError::Signature => {
                Error::Denied.because(error.to_string(), CHECK_CONFIG)
            }
            told => Error::Status { status: 403, message: told.to_string() }
                .because(told.to_string(), CHECK_ROLE),
        })
    }
}

/// Whether the labels of the account's namespace are those that the role selects. `api` is asked as
/// a reviewer, where there is one.
async fn check_labels(
    role: &Role,
    api: Option<Api<'_>>,
    account: &ServiceAccount,
) -> Result<(), Error> {
    let refused = |reason: String| {
        let message = "namespace not authorized".to_owned();
        Error::Status { status: 403, message }.because(reason, CHECK_ROLE)
    };
    let Some(api) = api else {
        return Err(refused("a namespace selector needs a token_reviewer_jwt".to_owned()));
    };
    let namespace = api
        .namespace(&account.namespace)
        .await
        .map_err(|error| refused(format!("ask for the namespace's labels: {}", Chain(&error))))?;
    let labels = namespace.metadata.labels;
    match role.selector().is_some_and(|selector| selector.takes(&labels)) {
        true => Ok(()),
        false => Err(refused(format!(
            "the labels of the namespace {:?} are not those that the role selects",
            account.namespace
        ))),
    }
}

fn forbidden(message: &str, account: &ServiceAccount) -> Error {
    let reason = format!(
        "the token is of the service account {:?} in the namespace {:?}, which the role does not \
         take",
        account.name, account.namespace
    );
    Error::Status { status: 403, message: message.to_owned() }.because(reason, CHECK_ROLE)
}

fn auth(name: &str, role: Role, account: &ServiceAccount) -> Auth {
    let alias = match role.alias_source {
        AliasSource::ServiceaccountUid => account.uid.clone(),
        AliasSource::ServiceaccountName => format!("{}/{}", account.namespace, account.name),
    };
    let pairs = [
        ("service_account_name", &account.name),
        ("service_account_namespace", &account.namespace),
        ("service_account_secret_name", &account.secret_name),
        ("service_account_uid", &account.uid),
    ];
    let about: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.clone())).into();
    let mut metadata = about.clone();
    metadata.insert("role".to_owned(), name.to_owned());
    Auth {
        metadata,
        display_name: format!("{}-{}", account.namespace, account.name),
        alias: Some(EntityAlias { name: alias, metadata: about }),
        internal: json!({ "role": name }),
        renewable: true,
        params: role.tokens.params,
        ..Auth::default()
    }
}
