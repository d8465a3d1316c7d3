//! Transit keys between our server and the real one, and between the two command lines.

use std::fs;
use std::path::Path;
use std::process::Command;

use holdfast_conformance::{Engine, Target, transit};
use holdfast_testkit::{Stock, StockServer};

fn ours() -> StockServer {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    StockServer::start_binary(ours, &["vault", "server"])
}

fn target(server: &StockServer, engine: Engine) -> Target<'_> {
    Target { address: server.address(), root_token: StockServer::ROOT_TOKEN, engine, trust: None }
}

#[test]
fn keys_go_to_the_real_server_and_come_from_it() {
    for ours_makes in [true, false] {
        let (real, ours) = (StockServer::start(&Stock::install()), ours());
        let (real, ours) = (target(&real, Engine::Real), target(&ours, Engine::Ours));
        let (from, to) = if ours_makes { (ours, real) } else { (real, ours) };
        let compared = transit::hand_over(from, to).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(compared > 200, "only {compared}");
    }
}

/// Either command line imports keys into either server.
#[test]
fn keys_are_imported_by_either_command_line() {
    let stock = Stock::install();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.b64");
    fs::write(&key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let key = format!("@{}", key.display());
    for server in [StockServer::start(&stock), ours()] {
        for (name, program, prefix) in [
            ("bao", stock.bao(), &[][..]),
            ("holdfast", Path::new(env!("CARGO_BIN_EXE_holdfast")), &["vault"][..]),
        ] {
            let run = |arguments: &[&str]| {
                let output = Command::new(program)
                    .args(prefix)
                    .args(arguments)
                    .env("BAO_ADDR", server.address())
                    .env("BAO_TOKEN", StockServer::ROOT_TOKEN)
                    .env("HOME", folder.path())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let complained = String::from_utf8_lossy(&output.stderr).into_owned();
                (output.status.code(), said, complained)
            };
            let mount = format!("by-{name}");
            assert_eq!(run(&["secrets", "enable", "-path", &mount, "transit"]).0, Some(0));
            let path = format!("{mount}/keys/k");
            let wanted = "Retrieving wrapping key.\nWrapping source key with ephemeral key.\n\
                          Encrypting ephemeral key with wrapping key.\nSubmitting wrapped key.\n\
                          Success!\n";
            let imported = run(&["transit", "import", &path, &key, "exportable=true"]);
            assert_eq!(imported, (Some(0), wanted.to_owned(), String::new()), "{name}");
            let version = run(&["transit", "import-version", &path, &key]);
            assert_eq!(version, (Some(0), wanted.to_owned(), String::new()), "{name}");
            let read = run(&["read", "-field=keys", &format!("{mount}/export/encryption-key/k/2")]);
            assert!(read.1.contains("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), "{read:?}");
            let again = run(&["transit", "import", &path, &key]);
            assert_eq!(again.0, Some(3), "{again:?}");
            assert!(again.2.contains("failed to call import:"), "{again:?}");
            assert_eq!(run(&["transit", "import", "k", &key]).0, Some(1));
        }
    }
}
