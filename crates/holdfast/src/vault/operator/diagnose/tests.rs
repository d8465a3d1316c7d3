use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use holdfast_keys::{CaRequest, CertificateAuthority, LeafRequest, Name, Usage};
use holdfast_types::{Clock as _, SystemClock, SystemRandom};

use super::*;

/// A certificate that ends after so many days, its key, and the authority's, in `folder`.
fn certificate(folder: &Path, days: u64) {
    let lifetime = Duration::from_secs(days * 24 * 3600);
    let now = SystemClock.now();
    let common_name = "authority".to_owned();
    let request = CaRequest { common_name, lifetime: lifetime * 2, permitted_dns: Vec::new() };
    let authority = CertificateAuthority::new_root(&request, now, &SystemRandom).unwrap();
    let leaf = LeafRequest {
        common_name: None,
        names: vec![Name::guess("localhost")],
        lifetime,
        usage: Usage::Server,
    };
    let issued = authority.issue(&leaf, now, &SystemRandom).unwrap();
    fs::write(folder.join("cert.pem"), &issued.certificate_pem).unwrap();
    fs::write(folder.join("ca.pem"), authority.certificate_pem()).unwrap();
    fs::write(folder.join("key.pem"), issued.key_pem.expose()).unwrap();
    private(&folder.join("key.pem"));
}

fn private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A good configuration in `folder`, and all that it names.
fn good(folder: &Path) {
    certificate(folder, 90);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(folder.join("seal.key"), [7; 32]).unwrap();
    private(&folder.join("seal.key"));
    // The kernel gives a free port, which is then free again.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = folder.display();
    let text = format!(
        "storage \"sqlite\" {{ path = \"{at}/vault.db\" }}\n\
         seal \"static\" {{\n current_key_id = \"k\"\n current_key = \"file://{at}/seal.key\"\n}}\n\
         listener \"tcp\" {{\n address = \"{port}\"\n tls_cert_file = \"{at}/cert.pem\"\n \
         tls_key_file = \"{at}/key.pem\"\n}}\n"
    );
    fs::write(folder.join("server.hcl"), text).unwrap();
}

/// What the checks say of the configuration in `folder`, and the exit code but for the machine's own.
fn diagnosed(folder: &Path, skip: &[Skippable]) -> (String, u8) {
    let (report, is_usable) = diagnose(&[folder.join("server.hcl")], skip);
    let lines = report.lines();
    (lines, exit_code(report.status(), is_usable))
}

#[test]
fn each_fault_is_found_where_it_is() {
    type Break = fn(&Path);
    let rows: [(&str, Break, &str, u8); 11] = [
        ("nothing", |_| (), "[ success ] Check Listener TLS\n", 0),
        (
            "syntax",
            |folder| fs::write(folder.join("server.hcl"), "storage {").unwrap(),
            "[ failure ] Parse Configuration: ",
            4,
        ),
        (
            "no seal key",
            |folder| fs::remove_file(folder.join("seal.key")).unwrap(),
            "[ failure ] Create Vault Server Configuration Seals: seal.static.current_key: ",
            1,
        ),
        (
            "no store",
            |folder| fs::write(folder.join("vault.db"), "another file. ".repeat(99)).unwrap(),
            "[ failure ] Open Storage Backend: ",
            4,
        ),
        (
            "directory",
            |folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap(),
            "(mode 777)",
            4,
        ),
        (
            "soon",
            |folder| certificate(folder, 10),
            "[ warning ] Check Listener TLS: The certificate of localhost expires in ",
            2,
        ),
        (
            "key's readers",
            |folder| {
                let mode = fs::Permissions::from_mode(0o644);
                fs::set_permissions(folder.join("key.pem"), mode).unwrap();
            },
            "others may read the key (mode 644)",
            2,
        ),
        (
            "another key",
            |folder| {
                let kept = fs::read(folder.join("cert.pem")).unwrap();
                certificate(folder, 90);
                fs::write(folder.join("cert.pem"), kept).unwrap();
            },
            "[ failure ] Check Listener TLS: use the certificate ",
            1,
        ),
        (
            "another chain",
            |folder| {
                let kept = fs::read_to_string(folder.join("ca.pem")).unwrap();
                certificate(folder, 90);
                let leaf = fs::read_to_string(folder.join("cert.pem")).unwrap();
                fs::write(folder.join("cert.pem"), leaf + &kept).unwrap();
            },
            "is not signed by the one after it",
            1,
        ),
        (
            "authority",
            |folder| {
                let leaf = fs::read_to_string(folder.join("cert.pem")).unwrap();
                let above = fs::read_to_string(folder.join("ca.pem")).unwrap();
                fs::write(folder.join("cert.pem"), leaf + &above).unwrap();
            },
            "[ success ] Check Listener TLS\n",
            0,
        ),
        (
            "no certificate",
            |folder| fs::write(folder.join("cert.pem"), "garbage").unwrap(),
            "[ failure ] Check Listener TLS: ",
            1,
        ),
    ];
    let machine = system::check().status();
    for (name, spoil, said, want) in rows {
        let folder = tempfile::tempdir().unwrap();
        good(folder.path());
        spoil(folder.path());
        let (lines, code) = diagnosed(folder.path(), &[]);
        assert!(lines.contains(said), "{name}: {lines}");
        // The disk of whoever runs this may be nearly full.
        let disk = system::disk("disk", folder.path()).status().max(machine);
        assert!(code == want || disk != Status::Ok, "{name}: {code} {lines}");
    }
}

#[test]
fn a_taken_address_fails_and_a_skipped_check_says_so() {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path());
    let config = fs::read_to_string(folder.path().join("server.hcl")).unwrap();
    let address = config.split('"').find(|text| text.starts_with("127.0.0.1:")).unwrap();
    let taken = TcpListener::bind(address).unwrap();
    let (lines, _) = diagnosed(folder.path(), &[]);
    assert!(lines.contains(&format!("[ failure ] Create Listeners: {address}: ")), "{lines}");
    drop(taken);
    let all = [Skippable::Listener, Skippable::Storage, Skippable::Autounseal];
    let (lines, _) = diagnosed(folder.path(), &all);
    assert_eq!(lines.matches(SKIPPED).count(), 3, "{lines}");
}

#[test]
fn a_command_line_that_is_wrong_is_3() {
    for (config, skip) in [(Vec::new(), ""), (vec!["server.hcl".into()], "network")] {
        let skip = if skip.is_empty() { Vec::new() } else { vec![skip.to_owned()] };
        let format = FormatFlag::of("table");
        let command = Diagnose { config, debug: false, skip, format };
        let failed = command.run();
        assert!(matches!(failed, Err(Failure::Told(3))), "{failed:?}");
    }
}

#[test]
fn the_command_ends_with_the_code_of_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path());
    let config = folder.path().join("server.hcl");
    for (text, codes) in [(None, &[0, 2][..]), (Some("storage {"), &[4])] {
        if let Some(text) = text {
            fs::write(&config, text).unwrap();
        }
        for format in ["table", "json", "yaml"] {
            let (config, format) = (vec![config.clone()], FormatFlag::of(format));
            let command = Diagnose { config, debug: true, skip: Vec::new(), format };
            let code = format!("{:?}", command.run().unwrap());
            let wanted = codes.iter().map(|code| format!("{:?}", ExitCode::from(*code)));
            assert!(wanted.into_iter().any(|wanted| wanted == code), "{text:?}: {code}");
        }
    }
}
