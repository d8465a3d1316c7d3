use std::path::Path;
use std::process::Command;

use holdfast_types::SystemRandom;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

fn root(permitted_dns: &[&str]) -> CertificateAuthority {
    let request = CaRequest {
        common_name: "demo.local platform root".to_owned(),
        lifetime: TEN_YEARS,
        permitted_dns: permitted_dns.iter().map(|name| (*name).to_owned()).collect(),
    };
    CertificateAuthority::new_root(&request, now(), &SystemRandom).unwrap()
}

fn leaf(names: &[&str]) -> LeafRequest {
    LeafRequest {
        common_name: None,
        names: names.iter().map(|name| Name::guess(name)).collect(),
        lifetime: DAY,
        usage: Usage::Both,
    }
}

/// What `openssl verify` says of `certificate_pem`, with `root` as its only anchor.
fn openssl(
    root: &CertificateAuthority,
    certificate_pem: &str,
    arguments: &[&str],
) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let anchor = write("ca.pem", root.certificate_pem());
    let certificate = write("leaf.pem", certificate_pem);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-no-CApath", "-no-CAstore"])
        .args(["-attime", &now().as_second().to_string()])
        .args(["-CAfile", &path(&anchor)])
        .args(arguments)
        .arg(path(&certificate))
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_root_and_its_renewal_verify_what_either_signed() {
    let first = root(&[]);
    let request = CaRequest {
        common_name: "demo.local platform root".to_owned(),
        lifetime: TEN_YEARS,
        permitted_dns: Vec::new(),
    };
    let renewed = first.renewed_root(&request, now() + DAY, &SystemRandom).unwrap();
    assert_eq!(renewed.info().not_after, first.info().not_after + DAY);
    assert_ne!(renewed.certificate_pem(), first.certificate_pem());
    let later = (now() + 2 * DAY).as_second().to_string();
    for (signer, anchor) in [(&first, &renewed), (&renewed, &first)] {
        let leaf = signer.issue(&leaf(&["vault"]), now() + DAY * 3 / 2, &SystemRandom).unwrap();
        openssl(anchor, &leaf.certificate_pem, &["-attime", &later]).unwrap();
    }
}

#[test]
fn openssl_accepts_what_is_issued_for_its_names_alone() {
    let root = root(&[]);
    let names = ["localhost", "127.0.0.1", "::1", "*.demo.local", "spiffe://demo.local/vault"];
    let issued = root.issue(&leaf(&names), now(), &SystemRandom).unwrap();
    for (arguments, want) in [
        (&["-verify_hostname", "localhost"][..], None),
        (&["-verify_hostname", "vault.demo.local"], None),
        (&["-verify_ip", "127.0.0.1"], None),
        (&["-verify_ip", "::1"], None),
        (&["-purpose", "sslserver"], None),
        (&["-purpose", "sslclient"], None),
        (&["-verify_hostname", "example.com"], Some("hostname mismatch")),
        (&["-verify_ip", "127.0.0.2"], Some("IP address mismatch")),
    ] {
        let got = openssl(&root, &issued.certificate_pem, arguments);
        match want {
            None => assert_eq!(got, Ok(()), "{arguments:?}"),
            Some(want) => assert!(got.unwrap_err().contains(want), "{arguments:?}"),
        }
    }
    let stranger = openssl(&self::root(&[]), &issued.certificate_pem, &[]);
    assert!(stranger.is_err(), "another root of the same name signed nothing");
}

#[test]
fn usages_are_kept_apart() {
    let root = root(&[]);
    for (usage, server, client) in [(Usage::Server, true, false), (Usage::Client, false, true)] {
        let request = LeafRequest { usage, ..leaf(&["localhost"]) };
        let issued = root.issue(&request, now(), &SystemRandom).unwrap();
        for (purpose, want) in [("sslserver", server), ("sslclient", client)] {
            let got = openssl(&root, &issued.certificate_pem, &["-purpose", purpose]);
            assert_eq!(got.is_ok(), want, "{usage:?} {purpose}");
        }
    }
}

#[test]
fn a_constrained_authority_vouches_for_its_names_alone() {
    let root = root(&["demo.local"]);
    for (name, want) in [("db.demo.local", true), ("db.example.com", false)] {
        let issued = root.issue(&leaf(&[name]), now(), &SystemRandom).unwrap();
        assert_eq!(openssl(&root, &issued.certificate_pem, &[]).is_ok(), want, "{name}");
    }
}

#[test]
fn a_certificate_is_read_back() {
    let root = root(&[]);
    let request = LeafRequest {
        common_name: Some("vault".to_owned()),
        ..leaf(&["localhost", "10.0.0.1", "fd00::1", "spiffe://demo.local/vault"])
    };
    let issued = root.issue(&request, now(), &SystemRandom).unwrap();
    let info = CertificateInfo::from_pem(&issued.certificate_pem).unwrap();
    assert_eq!(info, issued.info);
    assert_eq!(info.names, request.names);
    assert_eq!(info.subject, "CN=vault");
    assert_eq!(info.issuer, "CN=demo.local platform root");
    assert_eq!(info.not_before, now() - BACKDATED);
    assert_eq!(info.not_after, now() + DAY);
    assert!(!info.is_ca);
    assert_eq!(info.serial.split(':').count(), 16);

    let info = root.info();
    assert!(info.is_ca);
    assert_eq!(info.not_after, now() + TEN_YEARS);
    let other = root.issue(&request, now(), &SystemRandom).unwrap();
    assert_ne!(other.info.serial, issued.info.serial);
}

#[test]
fn an_authority_is_stored_and_read_back() {
    let first = root(&[]);
    let second = CertificateAuthority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    let issued = second.issue(&leaf(&["localhost"]), now(), &SystemRandom).unwrap();
    assert_eq!(openssl(&first, &issued.certificate_pem, &[]), Ok(()));

    let other = root(&[]);
    let mixed = CertificateAuthority::from_pem(first.certificate_pem(), &other.key_pem());
    assert!(matches!(mixed, Err(CaError::OtherKey)));
    let not_ca = CertificateAuthority::from_pem(&issued.certificate_pem, &issued.key_pem);
    assert!(matches!(not_ca, Err(CaError::NotCa)));
    let no_key = CertificateAuthority::from_pem(first.certificate_pem(), &"".into());
    assert!(matches!(no_key, Err(CaError::Key(_))));
}

#[test]
fn what_cannot_be_in_a_certificate_is_refused() {
    let root = root(&[]);
    let umlaut = root.issue(&leaf(&["bücher.example"]), now(), &SystemRandom);
    assert!(matches!(umlaut, Err(CaError::Name(name)) if name == "bücher.example"));
    let request = LeafRequest { lifetime: TEN_YEARS + DAY, ..leaf(&["localhost"]) };
    let long = root.issue(&request, now(), &SystemRandom);
    assert!(matches!(long, Err(CaError::Outlives(_))));
    let request = LeafRequest { lifetime: Duration::MAX, ..leaf(&["localhost"]) };
    let endless = root.issue(&request, now(), &SystemRandom);
    assert!(matches!(endless, Err(CaError::Lifetime)));
}
