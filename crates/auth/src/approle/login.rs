//! `login`: a role id and a secret id for a token.

use std::any::Any;
use std::collections::BTreeMap;

use holdfast_barrier::Batch;
use holdfast_logical::{Auth, BatchCell, EntityAlias, Error, Reply, Request, Response};
use holdfast_types::SecretString;
use serde_json::json;

use super::role::Role;
use super::secret_id::{AfterUse, SecretId};
use super::store::{check_id_length, hmac, secret_id_entry};
use super::{AppRole, no_such_role};
use crate::source_address::is_within;
use crate::token_params;

impl AppRole {
    /// `PUT login`. Whether the role or the secret id is wrong is not told.
    pub(super) async fn login(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let role_id = fields.required("role_id").map_err(Error::field_validation)?;
        let secret_id = fields.string("secret_id").map_err(Error::field_validation)?;
        let secret_id = SecretString::new(secret_id.unwrap_or_default());
        check_id_length("role_id", &role_id)?;
        check_id_length("secret_id", secret_id.expose())?;

        let Some((name, role)) = self.role_with_id(&role_id).await? else {
            // As much work as for a role that exists, which would else be known by the time taken.
            let hmac = hmac(&SecretString::new(role_id), secret_id.expose());
            self.secret_id("", &hmac).await?;
            let advice = "compare it with the role's role-id";
            let error = Error::invalid(WORDS);
            return Err(error.because("no role has the role_id that was sent", advice));
        };
        let mut params = role.tokens.params.clone();
        let mut metadata = BTreeMap::new();
        let mut settles = BatchCell::default();
        if role.bind_secret_id {
            if secret_id.expose().is_empty() {
                return Err(Error::invalid("missing secret_id"));
            }
            let (found, spent) = self.spend(&name, &role, &secret_id, request).await?;
            if !found.token_bound_cidrs.is_empty() {
                params.token_bound_cidrs = found.token_bound_cidrs;
            }
            metadata = found.metadata;
            settles = spent;
        } else {
            check_address(request, &name, &role)?;
        }
        metadata.insert("role_name".to_owned(), name.clone());
        let alias = EntityAlias { name: role.role_id, metadata: metadata.clone() };
        let auth = Auth {
            params,
            metadata,
            display_name: String::new(),
            alias: Some(alias),
            group_aliases: Vec::new(),
            internal: json!({ "role_name": name }),
            renewable: true,
            settles,
        };
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// A token lives on under the life that its role gives now, as long as there is the role.
    pub(super) async fn renew(&self, mut auth: Auth) -> Result<Auth, Error> {
        let name = auth.internal.get("role_name").and_then(|name| name.as_str());
        let Some(name) = name.map(str::to_owned) else { return Err(Error::Denied) };
        let Some(role) = self.role(&name).await? else {
            return Err(Error::invalid(format!("{} during renewal", no_such_role(&name))));
        };
        token_params::renew(&mut auth, &role.tokens.params);
        Ok(auth)
    }

    async fn role_with_id(&self, role_id: &str) -> Result<Option<(String, Role)>, Error> {
        let Some(name) = self.role_named_by(role_id).await? else { return Ok(None) };
        Ok(self.role(&name).await?.map(|role| (name, role)))
    }

    /// Finds a secret id and takes one of its uses: what the use changes is committed by the core
    /// in one batch with the token. Until then a secret id whose uses are counted stays locked.
    async fn spend(
        &self,
        name: &str,
        role: &Role,
        secret_id: &SecretString,
        request: &Request,
    ) -> Result<(SecretId, BatchCell), Error> {
        let hmac = hmac(&role.hmac_key, secret_id.expose());
        let unknown = || {
            let reason =
                format!("the secret_id is none of the role {name:?}, or was destroyed or used up");
            invalid(&reason, &format!("make a new secret_id for the role {name:?}"))
        };
        let mut found = self.secret_id(name, &hmac).await?.ok_or_else(unknown)?;
        let mut guard: Option<Box<dyn Any + Send + Sync>> = None;
        if found.num_uses > 0 {
            guard = Some(Box::new(self.secret_id_uses.lock(&hmac).await));
            // Another login may have taken the last use meanwhile.
            found = self.secret_id(name, &hmac).await?.ok_or_else(unknown)?;
        }
        let now = self.clock.now();
        if !found.is_alive(now) {
            // Removed by the next tidying: whoever guesses should not make the server write.
            let reason = format!("the secret_id of the role {name:?} has expired");
            return Err(invalid(&reason, &format!("make a new secret_id for the role {name:?}")));
        }
        if !is_within(request.connection.remote_address, &found.cidr_list) {
            let advice = format!("change cidr_list where secret_ids of the role {name:?} are made");
            return Err(elsewhere(request, "through CIDR restrictions on the secret ID", advice));
        }
        check_address(request, name, role)?;
        let mut batch = Batch::new();
        match found.clone().used(now) {
            AfterUse::Same => {}
            AfterUse::Gone => self.forget(&mut batch, name, &hmac, &found)?,
            AfterUse::Fewer(left) => {
                self.storage.batch_json(&mut batch, &secret_id_entry(name, &hmac), &left)?;
            }
        }
        Ok((found, BatchCell(self.storage.absolute(batch), guard)))
    }
}

const WORDS: &str = "invalid role or secret ID";

/// The role is there, the secret id is not.
fn invalid(reason: &str, advice: &str) -> Error {
    Error::Credentials(WORDS.to_owned()).because(reason, advice)
}

/// Whoever does not know a secret id does not learn from where it may be used, either: where the
/// role asks for one, this comes after it.
fn check_address(request: &Request, name: &str, role: &Role) -> Result<(), Error> {
    let bound_to = role.secret_id_bound_cidrs.as_deref().unwrap_or_default();
    if is_within(request.connection.remote_address, bound_to) {
        return Ok(());
    }
    let advice = format!("change secret_id_bound_cidrs of the role {name:?}");
    Err(elsewhere(request, "by CIDR restrictions on the role", advice))
}

fn elsewhere(request: &Request, why: &str, advice: String) -> Error {
    let address = request.connection.remote_address.map(|address| address.to_string());
    let address = address.unwrap_or_default();
    let message = format!("source address {address:?} unauthorized {why}");
    Error::invalid(message.clone()).because(message, advice)
}
