//! Configs: how a server is reached, and what is said when it is not.

use super::*;

#[tokio::test]
async fn names_and_certificates_are_checked_as_sslmode_says() {
    let server = server();
    let fixture = Fixture::new().await;
    let port = server.port();
    let own_ca = server.ca_file().display().to_string();
    let other_ca = holdfast_testkit::Ca::new("another").pem().to_owned();
    let socket = server.socket_directory().display().to_string();
    let by_name = |host: &str, rest: &str| {
        format!(
            "host={host} hostaddr=127.0.0.1 port={port} dbname=postgres user={{{{username}}}} password={{{{password}}}} {rest}"
        )
    };
    let full = format!("sslmode=verify-full sslrootcert='{own_ca}'");
    let ca_only = format!("sslmode=verify-ca sslrootcert='{own_ca}'");
    let required = format!("sslmode=require sslrootcert='{own_ca}'");
    for (url, tls_ca, want) in [
        (by_name("localhost", &full), "", Ok(())),
        (by_name("wrong.example", &full), "", Err("certificate not valid for name")),
        (by_name("wrong.example", &ca_only), "", Ok(())),
        (by_name("wrong.example", &required), other_ca.as_str(), Err("UnknownIssuer")),
        (by_name("localhost", "sslmode=verify-full"), server.ca().pem(), Ok(())),
        (by_name("localhost", "sslmode=verify-full"), other_ca.as_str(), Err("UnknownIssuer")),
        (by_name("localhost", &ca_only), other_ca.as_str(), Err("UnknownIssuer")),
        (by_name("wrong.example", "sslmode=require"), "", Ok(())),
        (by_name("wrong.example", ""), "", Ok(())),
        (by_name("localhost", "sslmode=disable"), "", Ok(())),
        (
            by_name("localhost", "sslmode=verify-full"),
            "",
            Err("sslmode=verify-full needs a root certificate"),
        ),
        (
            by_name("localhost", "sslmode=verify-ca"),
            "",
            Err("sslmode=verify-ca needs a root certificate"),
        ),
        (by_name("localhost", "sslmode=verify-full"), "junk", Err("tls_ca holds no certificate")),
        (
            by_name("localhost", "sslmode=verify-full sslrootcert=/none"),
            "",
            Err("read sslrootcert: No such file"),
        ),
        (
            format!(
                "host='{socket}' port={port} user={{{{username}}}} password={{{{password}}}} dbname=postgres"
            ),
            "",
            Ok(()),
        ),
        (
            format!(
                "postgres://{{{{username}}}}:{{{{password}}}}@/postgres?host={socket}&port={port}&sslmode=verify-full"
            ),
            "",
            Ok(()),
        ),
    ] {
        let mut config = config(server, "postgres");
        config["connection_url"] = url.clone().into();
        config["tls_ca"] = tls_ca.into();
        let reply = fixture.request(Operation::Create, "config/tls", config).await;
        match (reply, want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(want)) => {
                let got = chain(&error);
                assert!(got.starts_with("error creating database object: "), "{got}");
                assert!(got.contains(want), "{url}: {got}");
                assert!(!got.contains(server.admin_password()), "{got}");
            }
            (Ok(_), Err(want)) => panic!("{url}: accepted, not {want}"),
            (Err(error), Ok(())) => panic!("{url}: {}", chain(&error)),
        }
    }
}

#[tokio::test]
async fn a_server_can_ask_for_a_certificate() {
    let server = server();
    make_database(server, "certified");
    let fixture = Fixture::new().await;
    let mut config = config(server, "certified");
    let refusal = fixture.refusal(Operation::Create, "config/cert", config.clone()).await;
    assert!(refusal.contains("connection requires a valid client certificate"), "{refusal}");
    let leaf = server.ca().client("holdfast");
    config["tls_certificate"] = leaf.certificate_pem.clone().into();
    let refusal = fixture.refusal(Operation::Create, "config/cert", config.clone()).await;
    assert!(refusal.contains("tls_certificate and private_key must be given together"));
    config["private_key"] = leaf.key_pem.clone().into();
    fixture.ok("config/cert", config).await;
    let shown = fixture.read("config/cert").await.unwrap();
    assert_eq!(shown["connection_details"]["tls_certificate"], leaf.certificate_pem);
    assert!(!shown.to_string().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_told_without_secrets() {
    let server = server();
    let fixture = Fixture::new().await;
    let mut config = config(server, "postgres");
    config["password"] = "not the password".into();
    let refusal = fixture.refusal(Operation::Create, "config/pg", config.clone()).await;
    let port = server.port();
    assert_eq!(
        refusal,
        format!(
            "error creating database object: error verifying connection: failed to connect to \
             `user=postgres database=postgres`: localhost:{port}: FATAL: password authentication \
             failed for user \"postgres\" (SQLSTATE 28P01)"
        )
    );
    assert_eq!(fixture.read("config/pg").await, None);
    config["connection_url"] =
        "postgres://{{username}}:{{password}}@127.0.0.1:1/d?sslmode=disable".into();
    let refusal = fixture.refusal(Operation::Create, "config/pg", config.clone()).await;
    assert!(refusal.contains("Connection refused") && !refusal.contains("not the"), "{refusal}");
    config["connection_url"] = "postgres://{{username}}@nowhere.invalid/d?sslmode=disable".into();
    let refusal = fixture.refusal(Operation::Create, "config/pg", config.clone()).await;
    assert!(refusal.contains("failed to connect to `user=postgres database=d`"), "{refusal}");

    // Unverified, it is stored; and the refusal comes when it is used.
    config["verify_connection"] = false.into();
    fixture.ok("config/pg", config).await;
    fixture.ok("roles/app", role(&[CREATE])).await;
    let refusal = fixture.refusal(Operation::Read, "creds/app", Value::Null).await;
    assert!(refusal.starts_with("unable to start transaction: failed to connect to"), "{refusal}");
    assert_eq!(fixture.records().await, 0);
}

#[tokio::test]
async fn what_is_written_is_read_and_kept_by_later_writes() {
    let server = server();
    let fixture = Fixture::new().await;
    let list = |path: &'static str| fixture.request(Operation::List, path, Value::Null);
    assert!(list("config/").await.unwrap().is_none());
    fixture.ok("config/pg", config(server, "postgres")).await;
    fixture.ok("config/pg", json!({ "allowed_roles": "a, web-*", "max_open_connections": 7, "max_connection_lifetime": "5s" })).await;
    let url = url(server, "postgres", "verify-full");
    assert_eq!(
        fixture.read("config/pg").await.unwrap(),
        json!({
            "allowed_roles": ["a", "web-*"],
            "connection_details": {
                "connection_url": url,
                "max_connection_lifetime": "5s",
                "max_open_connections": 7,
                "username": "postgres",
            },
            "password_policy": "",
            "plugin_name": "postgresql-database-plugin",
            "plugin_version": "",
            "root_credentials_rotate_statements": [],
        })
    );
    assert_eq!(list("config/").await.unwrap().unwrap().data.unwrap()["keys"], json!(["pg"]));

    let own = "postgres://postgres:hidden@127.0.0.1:1/d?sslmode=disable";
    let data = json!({ "plugin_name": "postgresql-database-plugin", "connection_url": own, "verify_connection": false, "custom": 1 });
    let request = fixture.of_a_token(Operation::Create, "config/own", &data);
    let response = fixture.backend.handle(&request).await.unwrap().unwrap();
    assert!(response.warnings[0].starts_with("Password found in connection_url"));
    assert_eq!(
        request.field_warnings(),
        ["Endpoint ignored these unrecognized parameters: [custom]"]
    );
    let shown = fixture.read("config/own").await.unwrap();
    assert_eq!(shown["connection_details"]["connection_url"], own.replace("hidden", "xxxxx"));

    fixture.request(Operation::Delete, "config/pg", Value::Null).await.unwrap();
    assert_eq!(fixture.read("config/pg").await, None);
}

#[tokio::test]
async fn roles_are_kept_in_openbaos_shape() {
    let fixture = Fixture::new().await;
    fixture
        .ok(
            "roles/app",
            json!({ "db_name": "pg", "creation_statements": CREATE, "default_ttl": "1h" }),
        )
        .await;
    fixture.ok("roles/app", json!({ "max_ttl": 86400 })).await;
    assert_eq!(
        fixture.read("roles/app").await.unwrap(),
        json!({
            "creation_statements": [CREATE],
            "credential_type": "password",
            "db_name": "pg",
            "default_ttl": 3600,
            "max_ttl": 86400,
            "renew_statements": [],
            "revocation_statements": [],
            "rollback_statements": [],
        })
    );
    let listed = fixture.request(Operation::List, "roles/", Value::Null).await.unwrap().unwrap();
    assert_eq!(listed.data.unwrap()["keys"], json!(["app"]));
    fixture.request(Operation::Delete, "roles/app", Value::Null).await.unwrap();
    assert_eq!(fixture.read("roles/app").await, None);
}

#[tokio::test]
async fn refusals_are_in_openbaos_words() {
    let server = server();
    let fixture = Fixture::new().await;
    let mut other = config(server, "postgres");
    other["allowed_roles"] = "other".into();
    fixture.ok("config/pg", other).await;
    fixture.ok("roles/denied", role(&[CREATE])).await;
    fixture.ok("roles/other", json!({ "db_name": "pg" })).await;
    fixture.ok("roles/orphan", json!({ "db_name": "none", "creation_statements": CREATE })).await;
    let mapping = "CREATE USER MAPPING FOR x SERVER y OPTIONS (password '{{password}}')";
    let wrapped = |words: &str| format!("1 error occurred:\n\t* {words}\n\n");
    let (read, write) = (Operation::Read, Operation::Update);
    for (operation, path, data, want) in [
        (read, "creds/none", json!({}), "unknown role: none".to_owned()),
        (read, "creds/denied", json!({}), wrapped("\"denied\" is not an allowed role")),
        (read, "creds/other", json!({}), wrapped("empty creation statements")),
        (read, "creds/orphan", json!({}), "failed to find entry for connection with name: \"none\"".to_owned()),
        (write, "reset/none", json!({}), "failed to find entry for connection with name: \"none\"".to_owned()),
        (write, "config/new", json!({}), "empty plugin name".to_owned()),
        (write, "config/new", json!({ "plugin_name": "postgresql-database-plugin" }), "error creating database object: connection_url cannot be empty".to_owned()),
        (write, "config/pg", json!({ "max_open_connections": "x" }), "error creating database object: decoding failed due to the following error(s):\n\n'max_open_connections' cannot parse value as 'int': strconv.ParseInt: invalid syntax".to_owned()),
        (write, "config/pg", json!({ "password_authentication": "frob" }), "error creating database object: 'frob' is not a valid password authentication type".to_owned()),
        (write, "config/pg", json!({ "username_template": "{{frob}}" }), "error creating database object: unable to initialize username template: unable to parse template: template: template:1: function \"frob\" not defined".to_owned()),
        (write, "config/pg", json!({ "username_template": "{{" }), "error creating database object: unable to initialize username template: unable to parse template: template: template:1: unclosed action".to_owned()),
        (write, "config/pg", json!({ "connection_url": "postgres://h/d?sslmode=frob" }), "error creating database object: cannot parse connection url: sslmode is invalid".to_owned()),
        (write, "roles/new", json!({}), "database name is required".to_owned()),
        (write, "roles/new", json!({ "db_name": "pg", "credential_type": "frob" }), "invalid credential_type \"frob\"".to_owned()),
        (write, "roles/new", json!({ "db_name": "pg", "credential_type": "rsa_private_key" }), "unsupported credential_type: \"rsa_private_key\"".to_owned()),
        (write, "roles/new", json!({ "db_name": "pg", "max_ttl": "-1h" }), "error converting input for field \"max_ttl\": cannot provide negative value '-3600'".to_owned()),
        (write, "roles/new", json!({ "db_name": "pg", "creation_statements": mapping }), "creation_statements: {{password}} may only stand as PASSWORD '{{password}}' in CREATE or ALTER ROLE or USER: the server is given a SCRAM verifier there, never the password itself".to_owned()),
        (read, "config/", json!({}), "unsupported operation".to_owned()),
        (read, "rotate-root/pg", json!({}), "unsupported operation".to_owned()),
        (write, "creds/app", json!({}), "unsupported operation".to_owned()),
        (read, "creds/", json!({}), "unsupported path".to_owned()),
        (read, "config/a b", json!({}), "unsupported path".to_owned()),
        (read, "config/-a", json!({}), "unsupported path".to_owned()),
        (read, "config/a/b", json!({}), "unsupported path".to_owned()),
        (write, "static-frob/x", json!({}), "unsupported path".to_owned()),
        (read, "nope", json!({}), "unsupported path".to_owned()),
    ] {
        assert_eq!(fixture.refusal(operation, path, data).await, want, "{path}");
    }
}
