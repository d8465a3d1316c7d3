//! `role/<name>` and `role/<name>/role-id`.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::json;

use super::AppRole;
use super::role::Role;
use super::store::{check_id_length, fresh_key, role_entry};
use crate::token_params::RoleTokens;

impl AppRole {
    /// `GET role/<name>`
    pub(super) async fn read_role(&self, name: &str) -> Reply {
        let role = self.role(name).await?;
        Ok(role.map(|role| Response { data: Some(role.print()), ..Response::default() }))
    }

    /// `PUT role/<name>`: fields that are missing stay, or have their defaults in a new role.
    pub(super) async fn write_role(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.role_changes.lock().await;
        let fields = request.fields();
        let existing = self.role(name).await?;
        let role_id = fields.string("role_id")?.filter(|id| !id.is_empty());
        let local_secret_ids = fields.bool("local_secret_ids")?;
        let (old_role_id, mut role) = match existing {
            Some(role) => {
                if local_secret_ids.is_some() {
                    return Err(Error::invalid(
                        "local_secret_ids can only be modified during role creation",
                    ));
                }
                (Some(role.role_id.clone()), role)
            }
            None => (None, self.new_role(local_secret_ids.unwrap_or_default())),
        };
        if let Some(role_id) = role_id {
            role.role_id = role_id;
        }
        let warnings = role.update(request)?;
        self.save_role(name, &role, old_role_id.as_deref()).await?;
        if warnings.is_empty() {
            return Ok(None);
        }
        Ok(Some(Response { warnings, ..Response::default() }))
    }

    /// `DELETE role/<name>`: with its secret ids.
    pub(super) async fn delete_role(&self, name: &str) -> Reply {
        let _guard = self.role_changes.lock().await;
        let Some(role) = self.role(name).await? else { return Ok(None) };
        let mut batch = Batch::new();
        batch.delete(role_entry(name));
        batch.delete(self.role_id_entry(&role.role_id)?);
        for hmac in self.storage.list(&format!("secret-id/{name}/")).await? {
            if let Some(secret_id) = self.secret_id(name, &hmac).await? {
                self.forget(&mut batch, name, &hmac, &secret_id)?;
            }
        }
        self.storage.commit(batch).await?;
        Ok(None)
    }

    /// `GET role/<name>/role-id`
    pub(super) async fn read_role_id(&self, name: &str) -> Reply {
        let role = self.role(name).await?;
        Ok(role.map(|role| Response::data(json!({ "role_id": role.role_id }))))
    }

    /// `PUT role/<name>/role-id`: the caller chooses it.
    pub(super) async fn write_role_id(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.role_changes.lock().await;
        let mut role = self.role(name).await?.ok_or(Error::UnsupportedPath)?;
        let role_id = request.fields().required("role_id").map_err(Error::field_validation)?;
        let old_role_id = std::mem::replace(&mut role.role_id, role_id);
        self.save_role(name, &role, Some(&old_role_id)).await?;
        Ok(None)
    }

    /// Commits a role with the entry that its id is found by. The caller holds `role_changes`.
    pub(super) async fn save_role(
        &self,
        name: &str,
        role: &Role,
        old_role_id: Option<&str>,
    ) -> Result<(), Error> {
        check_id_length("role_id", &role.role_id)?;
        let mut batch = Batch::new();
        self.storage.batch_json(&mut batch, &role_entry(name), role)?;
        if old_role_id != Some(role.role_id.as_str()) {
            if self.role_named_by(&role.role_id).await?.is_some_and(|owner| owner != name) {
                return Err(Error::invalid("role_id already in use"));
            }
            if let Some(old) = old_role_id {
                batch.delete(self.role_id_entry(old)?);
            }
            let entry = self.role_id_entry(&role.role_id)?;
            self.storage.batch_json(&mut batch, &entry, name)?;
        }
        Ok(self.storage.commit(batch).await?)
    }

    fn new_role(&self, local_secret_ids: bool) -> Role {
        Role {
            role_id: self.random.uuid(),
            hmac_key: fresh_key(&*self.random),
            bind_secret_id: true,
            secret_id_bound_cidrs: None,
            secret_id_num_uses: 0,
            secret_id_ttl: Duration::ZERO,
            local_secret_ids,
            tokens: RoleTokens::default(),
        }
    }
}
