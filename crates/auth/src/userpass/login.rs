//! `login/<name>`: a password for a token.

use holdfast_logical::{Auth, EntityAlias, Error, Reply, Request, Response};
use holdfast_types::SecretString;
use serde_json::{Value, json};

use super::UserPass;
use crate::{source_address, token_params};

impl UserPass {
    /// `PUT login/<name>`. Whether the name or the password is wrong is not told.
    pub(super) async fn login(&self, request: &Request, name: &str) -> Reply {
        let password = request.fields().string("password").map_err(Error::field_validation)?;
        let password = SecretString::new(password.unwrap_or_default());
        if password.expose().is_empty() {
            return Err(Error::invalid("missing password"));
        }
        let user = self.user(name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let fits = self.passwords.verify(password, hash).await?;
        let words = || "invalid username or password".to_owned();
        let user = match user {
            None => return Err(Error::Invalid(words())),
            Some(_) if !fits => return Err(Error::Credentials(words())),
            Some(user) => user,
        };
        // Whoever does not know the password does not learn from where it may be used.
        source_address::check(request, &user.tokens.params)?;
        let metadata = [("username".to_owned(), name.to_owned())].into();
        let auth = Auth {
            params: user.tokens.params,
            metadata,
            display_name: name.to_owned(),
            alias: Some(EntityAlias { name: name.to_owned(), ..EntityAlias::default() }),
            internal: json!({ "username": name }),
            renewable: true,
            ..Auth::default()
        };
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// A token lives on under the life that its user gives now, as long as there is the user, and
    /// it has the same policies.
    pub(super) async fn renew(&self, mut auth: Auth) -> Result<Auth, Error> {
        let name = auth.internal.get("username").and_then(Value::as_str).unwrap_or_default();
        let Some(user) = self.user(name).await? else {
            return Err(Error::invalid(format!("user {name:?} does not exist during renewal")));
        };
        let now = user.tokens.params;
        if !token_params::same_policies(&now, &auth.params) {
            return Err(Error::invalid("policies have changed, not renewing"));
        }
        token_params::renew(&mut auth, &now);
        Ok(auth)
    }
}
