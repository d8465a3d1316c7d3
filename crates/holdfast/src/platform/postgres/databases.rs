//! Databases, their owners, and the groups that short-lived users join.

use anyhow::Context;
use tokio_postgres::Client;

use super::super::config;
use super::Server;
use super::settings::ENGINE_GROUP;

impl Server {
    /// Makes what the platform names and is missing. What is there keeps its contents.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(crate) async fn make_databases(&self, config: &config::Postgres) -> anyhow::Result<()> {
        let admin = self.connect("postgres").await?;
        make_role(&admin, ENGINE_GROUP).await?;
        for database in &config.databases {
            make_role(&admin, &database.owner).await?;
            make_role(&admin, &database.group).await?;
            let name = &database.name;
            let query = "SELECT 1 FROM pg_database WHERE datname = $1";
            if admin.query_opt(query, &[name]).await?.is_none() {
                // Names are checked at the edge: letters, digits and underscores.
                let statement = format!("CREATE DATABASE \"{name}\" OWNER \"{}\"", database.owner);
                admin
                    .batch_execute(&statement)
                    .await
                    .with_context(|| format!("create the database {name}"))?;
            }
            admin
                .batch_execute(&format!(
                    "ALTER DATABASE \"{name}\" OWNER TO \"{owner}\";
                     REVOKE ALL ON DATABASE \"{name}\" FROM PUBLIC;
                     GRANT CONNECT, TEMPORARY ON DATABASE \"{name}\" TO \"{group}\";",
                    owner = database.owner,
                    group = database.group,
                ))
                .await
                .with_context(|| format!("set the rights of the database {name}"))?;
            let inside = self.connect(name).await?;
            inside
                .batch_execute(&format!(
                    "ALTER SCHEMA public OWNER TO \"{}\";
                     REVOKE ALL ON SCHEMA public FROM PUBLIC;",
                    database.owner
                ))
                .await
                .with_context(|| format!("set the rights in the database {name}"))?;
        }
        Ok(())
    }
}

/// Makes a role that cannot log in, unless there is one of that name.
async fn make_role(admin: &Client, name: &str) -> anyhow::Result<()> {
    let query = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    if admin.query_opt(query, &[&name]).await?.is_none() {
        let statement = format!("CREATE ROLE \"{name}\" NOLOGIN");
        admin.batch_execute(&statement).await.with_context(|| format!("create the role {name}"))?;
    }
    Ok(())
}
