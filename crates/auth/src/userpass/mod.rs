//! `userpass`: people log in with a name and a password.
//!
//! Layout under the mount's corner of the store: `user/<name>` for each user, with the bcrypt hash
//! of the password. Names are in lower case.

mod login;
mod password;
mod routes;
#[cfg(test)]
mod tests;
mod user;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Response, Route,
    SpecialPaths,
};
use holdfast_types::Random;
use tokio::sync::Mutex;

use self::password::Passwords;
use self::user::User;
use crate::listing;
use crate::role_name::{canonical_below, is_role_name};

/// The backend of a `userpass` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(UserPass {
        storage: context.storage,
        random: context.random,
        passwords: Passwords::new(),
        changes: Mutex::new(()),
    })
}

struct UserPass {
    storage: View,
    random: Arc<dyn Random>,
    passwords: Passwords,
    /// Held while users change.
    changes: Mutex<()>,
}

#[async_trait]
impl Backend for UserPass {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let segments = request.segments();
        if let ["users" | "login", name, ..] = segments[..]
            && !name.is_empty()
            && !is_role_name(name)
        {
            return Err(Error::UnsupportedPath);
        }
        let name = segments.get(1).map(|name| name.to_lowercase()).unwrap_or_default();
        match (&segments[..], request.operation) {
            (["users", ""], List) => listing::list(&self.storage, "user/", request).await,
            (["users" | "login"], _) | (["users", ""], _) => Err(Error::UnsupportedOperation),
            (["login", ""], _) => Err(Error::UnsupportedPath),
            (["login", _], Create | Update) => self.login(request, &name).await,
            (["users", _], Read) => {
                Ok(self.user(&name).await?.map(|user| Response::data(user.print())))
            }
            (["users", _], Create | Update) => self.write_user(request, &name).await,
            (["users", _], Delete) => {
                let _guard = self.changes.lock().await;
                self.storage.delete(&user_entry(&name)).await?;
                Ok(None)
            }
            (["users", _, "password"], Create | Update) => {
                self.write_password(request, &name).await
            }
            (["users", _, "policies"], Create | Update) => {
                self.write_policies(request, &name).await
            }
            (["login" | "users", _] | ["users", _, "password" | "policies"], _) => {
                Err(Error::UnsupportedOperation)
            }
            _ => Err(Error::UnsupportedPath),
        }
    }

    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths { unauthenticated: vec!["login/*".to_owned()], sudo: Vec::new() }
    }

    fn canonical(&self, path: &str) -> Option<String> {
        canonical_below("users/", path).or_else(|| canonical_below("login/", path))
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        match request.segments()[..] {
            ["users", name] if is_role_name(name) => {
                Ok(Some(self.user(&name.to_lowercase()).await?.is_some()))
            }
            _ => Ok(None),
        }
    }

    fn login_name(&self, request: &Request) -> Option<String> {
        let name = request.path.strip_prefix("login/")?;
        Some(name.to_lowercase())
    }

    async fn renew_login(&self, auth: Auth, _connection: &Connection) -> Result<Auth, Error> {
        self.renew(auth).await
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| {
            "People log in with a name and a password. Users are kept under users/.".to_owned()
        })
    }
}

impl UserPass {
    async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        Ok(self.storage.get_json(&user_entry(name)).await?)
    }

    async fn save(&self, name: &str, user: &User) -> Reply {
        self.storage.put_json(&user_entry(name), user).await?;
        Ok(None)
    }

    /// `PUT users/<name>`: fields that are missing stay, or have their defaults in a new user.
    async fn write_user(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let _guard = self.changes.lock().await;
        let existing = self.user(name).await?;
        let is_new = existing.is_none();
        let mut user = existing.unwrap_or_default();
        match password::given(fields)? {
            None if is_new => return Err(password::missing()),
            None => {}
            Some(given) => {
                user.password_hash = self.passwords.settle(given, &*self.random).await?;
            }
        }
        user.update(fields)?;
        self.save(name, &user).await
    }

    /// `PUT users/<name>/password`
    async fn write_password(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut user = self.existing(name).await?;
        let given = password::given(request.fields()).map_err(Error::field_validation)?;
        let given = given.ok_or_else(password::missing)?;
        user.password_hash = self.passwords.settle(given, &*self.random).await?;
        self.save(name, &user).await
    }

    /// `PUT users/<name>/policies`
    async fn write_policies(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut user = self.existing(name).await?;
        user.tokens.update_policies(request.fields()).map_err(Error::field_validation)?;
        self.save(name, &user).await
    }

    async fn existing(&self, name: &str) -> Result<User, Error> {
        self.user(name).await?.ok_or_else(|| Error::invalid("username does not exist"))
    }
}

fn user_entry(name: &str) -> String {
    format!("user/{name}")
}
