//! `roles/`

use holdfast_logical::{Error, Reply, Request, Response};

use super::Engine;
use super::issuers::after_and_limit;
use super::role::Role;
use super::store::{DEFAULT, ReferenceError};

fn role_path(name: &str) -> String {
    format!("role/{name}")
}

impl Engine {
    /// The role of that name.
    pub(super) async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.context.storage.get_json(&role_path(name)).await?)
    }

    /// The role of that name; 400 where there is none.
    pub(super) async fn required_role(&self, name: &str) -> Result<Role, Error> {
        self.role(name).await?.ok_or_else(|| Error::invalid(format!("unknown role: {name}")))
    }

    pub(super) async fn list_roles(&self, request: &Request) -> Reply {
        let (after, limit) = after_and_limit(request)?;
        let names = self.context.storage.list_page("role/", after.as_deref(), limit).await?;
        Ok(Response::list(names))
    }

    pub(super) async fn read_role(&self, name: &str) -> Reply {
        Ok(self.role(name).await?.map(|role| Response::data(role.response())))
    }

    pub(super) async fn delete_role(&self, name: &str) -> Reply {
        self.context.storage.delete(&role_path(name)).await?;
        Ok(None)
    }

    pub(super) async fn write_role(&self, name: &str, request: &Request) -> Reply {
        let role = Role::default().written(request.fields())?;
        let wants_lease = request.fields().bool("generate_lease")?.unwrap_or_default();
        self.put_role(name, &role, wants_lease).await
    }

    pub(super) async fn patch_role(&self, name: &str, request: &Request) -> Reply {
        let old = self.role(name).await?;
        let old = old.ok_or_else(|| Error::invalid("Unable to fetch role entry to patch"))?;
        let had_lease = old.generate_lease;
        let role = old.written(request.fields())?;
        let wants_lease = request.fields().bool("generate_lease")?.unwrap_or(had_lease);
        self.put_role(name, &role, wants_lease).await
    }

    async fn put_role(&self, name: &str, role: &Role, wants_lease: bool) -> Reply {
        let mut response = Response::data(role.response());
        let authorities = self.store.authorities().await?;
        match authorities.issuer(&role.issuer_ref) {
            Ok(_) | Err(ReferenceError::Gone { .. }) => {}
            Err(_) if role.issuer_ref == DEFAULT => {
                response = response.warn(
                    "Issuing Certificate was set to default, but no default issuing certificate \
                     (configurable at /config/issuers) is currently set",
                );
            }
            Err(_) => {
                response = response.warn(format!(
                    "Issuing Certificate was set to {} but no issuing certificate currently has \
                     that name",
                    role.issuer_ref
                ));
            }
        }
        match (role.no_store, wants_lease) {
            (true, true) => {
                response = response.warn(
                    "mutually exclusive values no_store=true and generate_lease=true were both \
                     specified; no_store=true takes priority",
                );
            }
            (false, true) => {
                response = response.warn(
                    "it is encouraged to disable generate_lease and rely on PKI's native \
                     capabilities when possible; this option can cause instance-wide issues with \
                     large numbers of issued certificates",
                );
            }
            _ => {}
        }
        self.context.storage.put_json(&role_path(name), role).await?;
        Ok(Some(response))
    }
}
