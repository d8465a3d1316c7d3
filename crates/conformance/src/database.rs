//! The PostgreSQL of a suite that needs one, started when it is first asked for.

use anyhow::{Context, Result, bail};
use holdfast_testkit::Postgres;
use serde_json::Value;

/// None yet, or a server of the suite's own, which ends with the suite.
#[derive(Default)]
pub(crate) struct Database(Option<Postgres>);

impl Database {
    fn server(&mut self) -> &Postgres {
        self.0.get_or_insert_with(Postgres::start)
    }

    /// What `postgres_port` and its like stand for.
    pub(crate) fn place(&mut self, name: &str) -> Result<String> {
        let server = self.server();
        Ok(match name {
            "postgres_port" => server.port().to_string(),
            "postgres_password" => server.admin_password().to_owned(),
            "postgres_ca" => server.ca_file().display().to_string(),
            _ => bail!("there is no ${{{name}}}"),
        })
    }

    /// Runs `sql` as the superuser, or as the `user password` of `login`.
    pub(crate) fn query(&mut self, login: Option<&str>, sql: &str) -> Result<(u16, Value)> {
        let server = self.server();
        let rows = match login {
            None => server.psql("postgres", sql),
            Some(login) => {
                let (user, password) = login.split_once(' ').context("no password")?;
                server.psql_as(user, password, "postgres", sql)
            }
        };
        Ok(match rows {
            Ok(rows) => (200, rows.into()),
            Err(refusal) => (400, self.without_places(&refusal.to_string()).into()),
        })
    }

    /// `text` with the server's port and files under their names, as they differ from run to run.
    pub(crate) fn without_places(&self, text: &str) -> String {
        let Some(server) = &self.0 else { return text.to_owned() };
        let ca = server.ca_file().display().to_string();
        let port = server.port().to_string();
        let socket = server.socket_directory().display().to_string();
        let mut text = text
            .replace(&ca, "${postgres_ca}")
            .replace(&ca.replace('/', "%2F"), "${postgres_ca}")
            .replace(&socket, "${postgres_socket}");
        // Only as part of an address: the same digits may stand in a number.
        for before in [":", "port=", "port "] {
            let number = format!("{before}{port}");
            text = text.replace(&number, &format!("{before}${{postgres_port}}"));
        }
        text
    }
}
