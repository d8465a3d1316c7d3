//! Static roles, whose engine changes the password.

use holdfast_testkit::Postgres;
use serde_json::json;

use super::world::{Rotating, both};
use crate::delivery::world::World;

const PATH: &str = "database/static-creds/legacy";
const DELIVERED: &str = r#"
    template {
      contents    = "{{ with secret \"database/static-creds/legacy\" }}{{ .Data.password }}{{ end }}"
      destination = "FOLDER/agent/legacy"
      command     = "true"
    }
    env_template "LEGACY" {
      contents = "{{ with secret \"database/static-creds/legacy\" }}{{ .Data.password }}{{ end }}"
    }
    exec {
      command = ["/bin/sh", "-c", "printf %s \"$LEGACY\" >FOLDER/has && exec sleep 1000"]
      restart_on_secret_changes = "always"
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_static_role_is_rotated_by_its_engine_and_reaches_its_files() {
    for world in [World::ours().await, World::bao().await] {
        let policy = r#"path "*" { capabilities = ["read", "list", "update", "create"] }"#;
        world.root.write("sys/policies/acl/app", &json!({ "policy": policy })).await.unwrap();
        let rotating = Rotating::start(world, &[], "").await;
        let (root, postgres) = (&rotating.world.root, &rotating.postgres);
        postgres.psql("postgres", "CREATE ROLE legacy LOGIN PASSWORD 'x'").unwrap();
        root.write("sys/mounts/database", &json!({ "type": "database" })).await.unwrap();
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
            postgres.port(),
            postgres.ca_file().display()
        );
        let config = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": url,
            "username": Postgres::ADMIN, "password": postgres.admin_password(),
        });
        root.write("database/config/main", &config).await.unwrap();
        let role = json!({ "db_name": "main", "username": "legacy", "rotation_period": 86_400 });
        root.write("database/static-roles/legacy", &role).await.unwrap();
        let second = rotating.world.agent(
            crate::delivery::world::Program::Ours,
            "second",
            &format!("template_config {{ static_secret_render_interval = \"1s\" }}\n{DELIVERED}"),
        );
        let path = rotating.world.path("agent/legacy");
        crate::delivery::world::until("the first file", &second, || path.exists()).await;
        let socket = super::world::socket_of(&second).await;
        let before = rotating.world.text("agent/legacy");
        assert!(rotating.admits("legacy", &before));

        let mut command = rotating.command(&[PATH, "--timeout", "30s", "--records", "kv"]);
        let output = command.arg("--agent").arg(&socket).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let after = rotating.world.text("agent/legacy");
        assert!(!rotating.admits("legacy", &before), "the old password is ended");
        assert!(rotating.admits("legacy", &after), "the file has the new one");
        assert_eq!(rotating.world.text("has"), after, "and so has the process");
        let shown = both(&rotating.run(&["show", PATH, "--records", "kv"], 0));
        assert!(shown.contains("done since") && shown.contains("legacy"), "{shown}");
    }
}
