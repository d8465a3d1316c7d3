use super::*;

fn resolve(text: &str) -> Result<Platform, Vec<(String, String)>> {
    let path = Path::new("/p/demo/holdfast.toml");
    let directory = Path::new("/p/demo");
    let parsed = PlatformFile::parse(path, text);
    parsed.and_then(|file| file.resolve(directory, path, text)).map_err(|error| {
        error.problems().map(|(key, message)| (key.to_owned(), message.to_owned())).collect()
    })
}

#[test]
fn a_trust_domain_is_all_that_must_be_said() {
    let platform = resolve("trust_domain = \"demo.local\"").unwrap();
    assert_eq!(platform.name, "demo");
    assert_eq!(platform.domain, "localhost");
    assert_eq!(platform.tier, Tier::Laptop);
    assert_eq!(
        platform.vault.engine,
        Engine::Embedded { listen: "127.0.0.1:8200".parse().unwrap() }
    );
    assert!(platform.postgres.is_none());
}

#[test]
fn databases_get_an_owner_and_a_group() {
    let platform = resolve("trust_domain = \"d\"\n[postgres.databases.app]\n").unwrap();
    let database = &platform.postgres.unwrap().databases[0];
    assert_eq!((database.owner.as_str(), database.group.as_str()), ("app_owner", "app_app"));
}

#[test]
fn every_problem_is_named_by_its_key() {
    let text = r#"
        trust_domain = "Demo"
        [vault]
        engine = "embedded"
        binary = "/usr/bin/bao"
        names = ["va ult"]
        [postgres]
        settings = { port = "1" }
        rules = [{ database = "all users", user = "+app", address = "127.0.0.1/32" }]
        [postgres.databases.pg_x]
        [services.backend]
        needs = ["postgre"]
        [services.a]
        command = ["a"]
        needs = ["b"]
        [services.b]
        command = ["b"]
        needs = ["a"]
    "#;
    let problems = resolve(text).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "trust_domain",
            "vault.names",
            "vault.binary",
            "postgres.databases.pg_x",
            "postgres.databases.pg_x.owner",
            "postgres.databases.pg_x.group",
            "postgres.rules.0.database",
            "postgres.settings.port",
            "services.backend.command",
            "services.backend.needs",
            "services.a.needs",
        ]
    );
    assert_eq!(problems[9].1, "names no other part \"postgre\"; did you mean \"postgres\"?");
}

#[test]
fn delegates_are_ids_of_the_trust_domain() {
    let text = "trust_domain = \"d\"\n[spiffe]\nauthorized_delegates = [\"spiffe://d/proxy\"]";
    let platform = resolve(text).unwrap();
    assert_eq!(platform.spiffe.authorized_delegates[0].as_str(), "spiffe://d/proxy");
    for wrong in ["proxy", "spiffe://other/proxy", "spiffe://d/pro xy"] {
        let problems = resolve(&text.replace("spiffe://d/proxy", wrong)).unwrap_err();
        assert_eq!(problems[0].0, "spiffe.authorized_delegates.0", "{wrong}");
    }
}

#[test]
fn the_bundle_is_read_where_localhost_is() {
    let at = |listen: &str| format!("trust_domain = \"d\"\n[spiffe]\nlisten = \"{listen}\"");
    for good in ["127.0.0.1:8443", "0.0.0.0:8443", "[::1]:0", "[::]:0"] {
        let platform = resolve(&at(good)).unwrap();
        assert_eq!(platform.spiffe.listen, good.parse().unwrap());
    }
    let problems = resolve(&at("192.0.2.1:8443")).unwrap_err();
    assert_eq!(problems[0].0, "spiffe.listen");
}

#[test]
fn an_unknown_key_is_met_with_the_nearest_known_one() {
    let problems = resolve("trust_domain = \"d\"\n[vault]\nengin = \"managed\"").unwrap_err();
    assert!(problems[0].1.ends_with("did you mean `engine`?"), "{problems:?}");
}

#[test]
fn an_external_engine_has_an_address_with_tls() {
    for (address, good) in [
        ("https://vault.example.org:8200", true),
        ("http://127.0.0.1:8200", true),
        ("http://vault.example.org", false),
        ("vault", false),
        ("https://", false),
    ] {
        let text =
            format!("trust_domain = \"d\"\n[vault]\nengine = \"external\"\naddress = {address:?}");
        assert_eq!(resolve(&text).is_ok(), good, "{address}");
    }
}

#[test]
fn the_report_shows_the_line_and_the_fix() {
    let path = Path::new("holdfast.toml");
    let text = "name = \"Demo\"\n\n[vault]\nengine = \"managed\"\naddress = \"https://x\"\n";
    let file = PlatformFile::parse(path, text).unwrap();
    let error = file.resolve(Path::new("/p"), path, text).unwrap_err();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    let mut report = String::new();
    handler.render_report(&mut report, &error).unwrap();
    insta::assert_snapshot!(report);
}

#[test]
fn templates_and_their_policies_are_files_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["templates/db.json.ctmpl", "more/db.json.ctmpl", "policies/app.hcl", "plain"] {
        let file = directory.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }
    let service = |name: &str, fields: &str| {
        let text = format!(
            "name = \"demo\"\ntrust_domain = \"d\"\n[services.{name}]\ncommand = [\"a\"]\n{fields}\n"
        );
        let path = directory.path().join(FILE_NAME);
        let file = PlatformFile::parse(&path, &text).unwrap();
        let platform = file.resolve(directory.path(), &path, &text);
        platform.map(|platform| platform.services[name].delivery.clone()).map_err(|error| {
            error.problems().map(|(key, problem)| format!("{key} {problem}")).collect::<Vec<_>>()
        })
    };
    let delivery = service("app", "templates = [\"templates/db.json.ctmpl\"]\nreload = \"SIGHUP\"");
    let delivery = delivery.unwrap().unwrap();
    assert_eq!(delivery.reload, Reload::Signal(nix::sys::signal::Signal::SIGHUP));
    let variables = service("app", "secret_environment.A = \"templates/db.json.ctmpl\"");
    let variables = variables.unwrap().unwrap();
    assert_eq!((variables.reload, variables.variables.len()), (Reload::Restart, 1));
    for (name, fields, want) in [
        ("app", "reload = \"restart\"", "services.app.reload needs templates"),
        (
            "app",
            "templates = [\"templates/typo.ctmpl\"]",
            "services.app.templates names templates/typo.ctmpl, which is no file",
        ),
        (
            "app",
            "templates = [\"../db.json.ctmpl\"]",
            "services.app.templates names ../db.json.ctmpl, which is not in the platform directory",
        ),
        (
            "app",
            "templates = [\"plain\"]",
            "services.app.templates names plain, which does not end in .ctmpl",
        ),
        (
            "app",
            "templates = [\"templates/db.json.ctmpl\", \"more/db.json.ctmpl\"]",
            "services.app.templates render two files of one name: more/db.json.ctmpl",
        ),
        (
            "web",
            "templates = [\"templates/db.json.ctmpl\"]",
            "services.web.templates need a policy that says what they may read; there is no policies/web.hcl",
        ),
        (
            "web",
            "templates = [\"templates/db.json.ctmpl\"]\npolicies = [\"ap\"]",
            "services.web.policies names no file of the platform directory: policies/ap.hcl",
        ),
        (
            "app",
            "reload = \"SIGHUP\"\nsecret_environment.A = \"templates/db.json.ctmpl\"",
            "services.app.reload must be \"restart\": the environment of a process does not change",
        ),
        (
            "app",
            "secret_environment.HOME = \"templates/db.json.ctmpl\"",
            "services.app.secret_environment.HOME is set to something else already",
        ),
        (
            "app",
            "secret_environment.1A = \"templates/db.json.ctmpl\"",
            "services.app.secret_environment.1A must be of A-Z a-z 0-9 _, and begin with no digit",
        ),
        (
            "app",
            "secret_environment.A = \"plain\"",
            "services.app.secret_environment.A names plain, which does not end in .ctmpl",
        ),
        (
            "app",
            "templates = [\"templates/db.json.ctmpl\"]\nreload = \"HUP\"",
            "services.app.reload must be \"restart\", or a signal such as \"SIGHUP\"",
        ),
    ] {
        assert_eq!(service(name, fields).unwrap_err(), [want]);
    }
}
