//! Listeners: their addresses, and the certificates that they would show.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use holdfast_keys::CertificateInfo;
use holdfast_types::{Clock, SystemClock};
use holdfast_vault::http::{ListenerSettings, SocketSettings, Tls, TlsSettings};
use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

use super::super::super::connection::chain;
use super::report::Check;

/// A certificate that ends sooner is warned of, in days.
const SOON: i64 = 30;

/// `is_running`: a server has the store open, and so most likely the addresses, too.
pub(super) fn check(listeners: &[ListenerSettings], is_running: bool) -> Check {
    listeners.iter().fold(Check::new("Start Listeners"), |check, listener| {
        check.with(tls(listener)).with(socket(&listener.socket, is_running))
    })
}

fn tls(listener: &ListenerSettings) -> Check {
    let check = Check::new("Check Listener TLS");
    let name = match &listener.socket {
        SocketSettings::Tcp(address) => address.to_string(),
        SocketSettings::Inherited(name) => name.clone(),
        SocketSettings::Unix { .. } => return check.skip("A Unix socket has no TLS."),
    };
    match &listener.tls {
        None => check.warn(format!(
            "Listener at address {name}: TLS is disabled in a listener config stanza."
        )),
        Some(settings) => files(check, settings, SystemClock.now().as_second()),
    }
}

/// The files of a listener's TLS; `now` in seconds since 1970.
fn files(check: Check, settings: &TlsSettings, now: i64) -> Check {
    // What a start does with them: they parse, and the key is the certificate's.
    if let Err(error) = Tls::load(settings.clone()) {
        return check.fail(format!("{}.", chain(&error)));
    }
    let check = private(check, &settings.key_file);
    let path = settings.certificate_file.display();
    let pems = match fs::read(&settings.certificate_file) {
        Ok(pems) => pems,
        Err(error) => return check.fail(format!("{path}: {error}.")),
    };
    let pems: Vec<_> = Pem::iter_from_buffer(&pems).filter_map(Result::ok).collect();
    let pems = pems.iter().filter(|pem| pem.label == "CERTIFICATE");
    let certificates: Result<Vec<_>, _> = pems.map(Pem::parse_x509).collect();
    match certificates {
        Ok(certificates) => linked(dated(check, &certificates, now), &certificates),
        Err(error) => check.fail(format!("{path}: {error}.")),
    }
}

fn private(check: Check, key: &Path) -> Check {
    let mode = fs::metadata(key).map_or(0, |found| found.permissions().mode());
    // A group of its own may read it, as Debian's ssl-cert does.
    if mode & 0o037 == 0 {
        return check;
    }
    check.warn(format!("{}: others may read the key (mode {:o}).", key.display(), mode & 0o777))
}

/// All certificates are valid `now`, and will be for a while.
fn dated(check: Check, certificates: &[X509Certificate<'_>], now: i64) -> Check {
    certificates.iter().fold(check, |check, certificate| {
        let (name, validity) = (name(certificate), certificate.validity());
        let check = check.detail(format!("{name}: until {}.", validity.not_after));
        let left = validity.not_after.timestamp() - now;
        if left < 0 {
            check.fail(format!("The certificate of {name} expired at {}.", validity.not_after))
        } else if now < validity.not_before.timestamp() {
            check.fail(format!(
                "The certificate of {name} is not valid before {}.",
                validity.not_before
            ))
        } else if left < SOON * 24 * 3600 {
            let days = left / (24 * 3600);
            check.warn(format!("The certificate of {name} expires in {days} days."))
        } else {
            check
        }
    })
}

/// Each certificate is signed by the one after it, and the first is no authority's.
fn linked(check: Check, certificates: &[X509Certificate<'_>]) -> Check {
    let check = match certificates.first() {
        Some(leaf) if leaf.is_ca() => check.warn(format!(
            "The first certificate, of {}, is an authority's: clients may refuse it.",
            name(leaf)
        )),
        _ => check,
    };
    certificates.windows(2).fold(check, |check, pair| {
        let [child, parent] = pair else { return check };
        let named = child.issuer().as_raw() == parent.subject().as_raw();
        if named && child.verify_signature(Some(parent.public_key())).is_ok() {
            return check;
        }
        check.fail(format!(
            "The certificate of {} is not signed by the one after it, of {}.",
            name(child),
            name(parent)
        ))
    })
}

/// The subject; where that is empty, the names that the certificate is for.
fn name(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject().to_string();
    if !subject.is_empty() {
        return subject;
    }
    let names = CertificateInfo::from_der(certificate.as_raw()).map(|info| info.names);
    let names = names.unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn socket(settings: &SocketSettings, is_running: bool) -> Check {
    let check = Check::new("Create Listeners");
    match settings {
        SocketSettings::Inherited(_) => check.skip("The socket is passed on to the server."),
        SocketSettings::Unix { path, .. } => {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            match fs::metadata(folder.unwrap_or(Path::new("."))) {
                Ok(found) if found.is_dir() => check,
                Ok(_) => check.fail(format!("{}: its folder is none.", path.display())),
                Err(error) => check.fail(format!("{}: its folder: {error}.", path.display())),
            }
        }
        SocketSettings::Tcp(address) => match bind(*address) {
            Ok(_) => check,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running => {
                check.say(format!("{address} is in use, as is the store: a server runs."))
            }
            Err(error) => check.fail(format!("{address}: {error}.")),
        },
    }
}

/// Whether the address can be had. What is bound does not listen: no client reaches it, and a server
/// that starts at this moment gets the address all the same.
fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let bound = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&bound, ReuseAddr, &true)?;
    socket::bind(bound.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_look_at_an_address_keeps_no_server_from_it() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(server);
        let _looked = bind(address).unwrap();
        TcpListener::bind(address).unwrap();
    }
}
