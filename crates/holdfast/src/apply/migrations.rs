//! `database/*.sql`: schema and grants, each file run once, in the order of their names.
//!
//! A file runs as the database's owner role, in one transaction with the row that says so, so it
//! has run whole or not at all. Files never change once they have run.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use tokio_postgres::Client;

use super::{Change, ChangeKind};

/// The migrations of one database, read from a folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Migrations {
    files: Vec<Migration>,
}

#[derive(Debug, Clone)]
struct Migration {
    name: String,
    text: String,
    digest: String,
}

/// Why a schema is not as its files say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file that has run was changed.
    #[error(
        "{name} has run in this database with other content: put it back, and write what is new \
         into a new file"
    )]
    Changed {
        /// The file.
        name: String,
    },
    /// The database refused.
    #[error("{name}: {}", words(source))]
    Sql {
        /// The file, or what else was being done.
        name: String,
        /// What PostgreSQL says.
        source: tokio_postgres::Error,
    },
}

impl Migrations {
    /// Reads `*.sql` in `folder`; none where the folder is missing.
    pub(crate) fn read(folder: &Path) -> Result<Self, MigrationError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |source| MigrationError::Read { path, source }
        };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(wrong(folder)(source)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(wrong(folder))?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).map_err(wrong(&path))?;
            let digest = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
            files.push(Migration { name, text, digest });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files })
    }

    /// The files that have not run in `client`'s database, and how many have.
    pub(crate) async fn plan(
        &self,
        client: &Client,
        database: &str,
    ) -> Result<(Vec<Change>, usize), MigrationError> {
        let pending = self.pending(client).await?;
        let changes = pending.iter().map(|migration| Change {
            kind: ChangeKind::Create,
            path: format!("database/{database}/{}", migration.name),
            file: Some(format!("database/{database}/{}", migration.name)),
            fields: Vec::new(),
        });
        Ok((changes.collect(), self.files.len() - pending.len()))
    }

    /// Runs them, each as `owner` and in a transaction of its own. `client` is logged in as
    /// somebody who may become the owner.
    pub(crate) async fn apply(
        &self,
        client: &mut Client,
        owner: &str,
    ) -> Result<(), MigrationError> {
        let during = |name: &str| {
            let name = name.to_owned();
            move |source| MigrationError::Sql { name, source }
        };
        // Two runs at once: the second waits here, and then finds nothing to do.
        client
            .execute("SELECT pg_advisory_lock(hashtext('holdfast.migrations'))", &[])
            .await
            .map_err(during("lock"))?;
        let pending: Vec<_> = self.pending(client).await?.into_iter().cloned().collect();
        for migration in pending {
            let failed = during(&migration.name);
            let run = async {
                let transaction = client.transaction().await?;
                transaction
                    .batch_execute(
                        "CREATE SCHEMA IF NOT EXISTS holdfast;
                         CREATE TABLE IF NOT EXISTS holdfast.migrations (
                             name text PRIMARY KEY,
                             sha256 text NOT NULL,
                             ran_at timestamptz NOT NULL DEFAULT now())",
                    )
                    .await?;
                let owner = owner.replace('"', "\"\"");
                transaction.batch_execute(&format!("SET LOCAL ROLE \"{owner}\"")).await?;
                transaction.batch_execute(&migration.text).await?;
                transaction.batch_execute("RESET ROLE").await?;
                transaction
                    .execute(
                        "INSERT INTO holdfast.migrations (name, sha256) VALUES ($1, $2)",
                        &[&migration.name, &migration.digest],
                    )
                    .await?;
                transaction.commit().await
            };
            run.await.map_err(failed)?;
        }
        client
            .execute("SELECT pg_advisory_unlock(hashtext('holdfast.migrations'))", &[])
            .await
            .map_err(during("unlock"))?;
        Ok(())
    }

    async fn pending(&self, client: &Client) -> Result<Vec<&Migration>, MigrationError> {
        let failed = |source| MigrationError::Sql { name: "look at what has run".into(), source };
        let known = client
            .query_one("SELECT to_regclass('holdfast.migrations') IS NOT NULL", &[])
            .await
            .map_err(failed)?;
        let rows = if known.get(0) {
            let query = "SELECT name, sha256 FROM holdfast.migrations";
            client.query(query, &[]).await.map_err(failed)?
        } else {
            Vec::new()
        };
        let mut pending = Vec::new();
        for migration in &self.files {
            let ran = rows.iter().find(|row| row.get::<_, &str>(0) == migration.name);
            match ran {
                None => pending.push(migration),
                Some(row) if row.get::<_, &str>(1) == migration.digest => {}
                Some(_) => {
                    return Err(MigrationError::Changed { name: migration.name.clone() });
                }
            }
        }
        Ok(pending)
    }
}

/// What PostgreSQL says, with its hint and the place in the file.
fn words(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let mut text = error.message().to_owned();
    if let Some(detail) = error.detail() {
        text.push_str(": ");
        text.push_str(detail);
    }
    if let Some(tokio_postgres::error::ErrorPosition::Original(at)) = error.position() {
        text.push_str(&format!(" (at character {at})"));
    }
    text
}
