use holdfast_testkit::Postgres;

use super::*;

#[test]
fn connections_name_a_host_and_no_password() {
    let ca = Path::new("/nowhere/ca.pem");
    for (text, ca_file, want) in [
        ("postgresql://db:5432/app", Some(ca), "/nowhere/ca.pem"),
        ("postgresql://db:5432/app", None, "always verified"),
        ("postgresql://u:secret@db/app", Some(ca), "holds a password"),
        ("dbname=app", Some(ca), "names no host"),
        ("mysql://db", Some(ca), "no connection string"),
    ] {
        let error = Server::new(text, ca_file).err().unwrap();
        assert!(format!("{error:#}").contains(want), "{text}: {error:#}");
    }
    assert!(Server::new("host=/run/postgresql dbname=app", None).is_ok());
}

#[tokio::test]
async fn roles_are_changed_by_verifier_and_ended_with_their_sessions() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = holdfast_testkit::PostgresSettings {
        settings: vec![("log_statement", "all")],
        ..Default::default()
    };
    let postgres = Postgres::start_with(&settings);
    postgres.psql("postgres", "CREATE ROLE \"a \"\"b\" LOGIN").unwrap();
    let role = "a \"b";
    let ca = postgres.ca_file();
    let connection =
        format!("postgresql://localhost:{}/postgres?application_name=pool", postgres.port());
    let server = Server::new(&connection, Some(&ca)).unwrap();
    let login = |username: &str, password: &str| Login {
        username: username.to_owned(),
        password: password.into(),
    };
    let admin = login(Postgres::ADMIN, postgres.admin_password());
    let admin = server.connect(&admin).await.unwrap();
    assert!(exists(&admin, role).await.unwrap() && !exists(&admin, "b").await.unwrap());

    let own = login(role, "a new password");
    assert!(!server.admits(&own).await.unwrap());
    set_password(&admin, role, &own.password, true).await.unwrap();
    assert!(server.admits(&own).await.unwrap());
    assert!(!postgres.log().contains("a new password"), "only the verifier is sent");

    let before = now(&admin).await.unwrap();
    let session = server.connect(&own).await.unwrap();
    let [seen] = &sessions(&admin, role, Some(&before)).await.unwrap()[..] else { panic!("one") };
    assert_eq!(seen.whence, "pool at 127.0.0.1");
    let later = now(&admin).await.unwrap();
    assert_eq!(sessions(&admin, role, Some(&later)).await.unwrap(), []);
    end(&admin, role).await.unwrap();
    assert!(session.batch_execute("SELECT 1").await.is_err(), "its session is ended");
    assert!(!server.admits(&own).await.unwrap());
    assert_eq!(sessions(&admin, role, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let server = Server::new("host=/nowhere dbname=app", None).unwrap();
    let login = Login { username: "a".into(), password: "b".into() };
    let trouble = server.admits(&login).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Passing(_)), "{trouble:?}");
}
