//! `server -dev`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_keys::{CaRequest, CertificateAuthority, LeafRequest, Name, Usage};
use holdfast_types::{Clock, Random};
use holdfast_vault::config::{SealSettings, ServerConfig, StorageSettings};
use holdfast_vault::core::Limits as LeaseLimits;
use holdfast_vault::http::{
    ClientCertificates, Limits, ListenerSettings, SocketSettings, TlsSettings,
};
use holdfast_vault::server::{DevCredentials, DevSettings};

use crate::vault::connection::chain;
use crate::vault::token_file::TokenFile;
use crate::vault::{Failure, environment};

/// How long the certificate of a development server lasts.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The flags of a development server.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Run a development server: in memory, unsealed, with a known root token.
    #[arg(long)]
    dev: bool,
    /// The root token; random where none is given.
    #[arg(long, value_name = "ID")]
    dev_root_token_id: Option<String>,
    /// The address to listen on [default: 127.0.0.1:8200].
    #[arg(long, value_name = "ADDRESS")]
    dev_listen_address: Option<String>,
    /// Do not store the root token as that of the command line.
    #[arg(long)]
    dev_no_store_token: bool,
    /// Listen with TLS, by a certificate made at the start.
    #[arg(long)]
    dev_tls: bool,
    /// Where to put that certificate, its key and its authority [default: a new folder in /tmp].
    #[arg(long, value_name = "FOLDER")]
    dev_tls_cert_dir: Option<PathBuf>,
    /// A further name or address for the certificate; can be given several times.
    #[arg(long, value_name = "NAME")]
    dev_tls_san: Vec<String>,
}

impl Flags {
    pub(super) fn enabled(&self) -> bool {
        self.dev || self.dev_tls
    }

    pub(super) fn settings(&self) -> DevSettings {
        let root_token_id = self.dev_root_token_id.clone();
        DevSettings {
            root_token_id: root_token_id.or_else(|| environment::read("DEV_ROOT_TOKEN_ID")),
        }
    }

    /// A configuration that keeps nothing.
    pub(super) fn config(
        &self,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<ServerConfig, Failure> {
        let address = self
            .dev_listen_address
            .clone()
            .or_else(|| environment::read("DEV_LISTEN_ADDRESS"))
            .unwrap_or_else(|| "127.0.0.1:8200".to_owned());
        let address: SocketAddr =
            address.replace("localhost", "127.0.0.1").parse().map_err(|_| {
                Failure::Usage(format!("-dev-listen-address: {address:?} is no IP and port"))
            })?;
        let tls = if self.dev_tls { Some(self.certificate(address, clock, random)?) } else { None };
        let limits = LeaseLimits::default();
        Ok(ServerConfig {
            listeners: vec![ListenerSettings {
                socket: SocketSettings::Tcp(address),
                tls,
                cleartext_anywhere: true,
                // As in OpenBao's development mode.
                limits: Limits { open_metrics: true, ..Limits::default() },
            }],
            storage: StorageSettings::Inmem,
            seal: SealSettings::Shamir,
            audit: Vec::new(),
            audit_allowances: holdfast_vault::audit::Allowances::default(),
            initialize: Vec::new(),
            api_addr: Some(format!("{}://{address}", if self.dev_tls { "https" } else { "http" })),
            cluster_name: None,
            default_lease_ttl: limits.default_lease_ttl,
            max_lease_ttl: limits.max_lease_ttl,
            log_level: "info".to_owned(),
            log_file: None,
            log_json: false,
            pid_file: None,
            warnings: Vec::new(),
        })
    }

    /// Makes an authority and a certificate, in the files that OpenBao's -dev-tls makes.
    fn certificate(
        &self,
        address: SocketAddr,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<TlsSettings, Failure> {
        let failed = |error: &dyn std::error::Error| {
            Failure::Usage(format!("make a certificate: {}", chain(error)))
        };
        let folder = match &self.dev_tls_cert_dir {
            Some(folder) => folder.clone(),
            None => std::env::temp_dir().join(format!("holdfast-tls-{}", std::process::id())),
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let request = CaRequest {
            common_name: "Holdfast development CA".to_owned(),
            lifetime: CERTIFICATE_LIFETIME,
            permitted_dns: Vec::new(),
        };
        let now = clock.now();
        let authority = CertificateAuthority::new_root(&request, now, random)
            .map_err(|error| failed(&error))?;
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        names.push(address.ip().to_string());
        names.extend(self.dev_tls_san.iter().cloned());
        names.sort();
        names.dedup();
        let leaf = LeafRequest {
            common_name: Some("localhost".to_owned()),
            names: names.iter().map(|name| Name::guess(name)).collect(),
            lifetime: CERTIFICATE_LIFETIME,
            usage: Usage::Server,
        };
        let issued = authority.issue(&leaf, now, random).map_err(|error| failed(&error))?;
        let write = |name: &str, text: &str| -> Result<PathBuf, Failure> {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| failed(&error))?;
            Ok(path)
        };
        write("vault-ca.pem", authority.certificate_pem())?;
        Ok(TlsSettings {
            certificate_file: write("vault-cert.pem", &issued.certificate_pem)?,
            key_file: write("vault-key.pem", issued.key_pem.expose())?,
            client_certificates: ClientCertificates::Ask,
            only_tls13: false,
        })
    }

    /// Tells whoever started it how to use it.
    pub(super) fn announce(
        &self,
        addresses: &[SocketAddr],
        credentials: &DevCredentials,
    ) -> Result<(), Failure> {
        let scheme = if self.dev_tls { "https" } else { "http" };
        let address = addresses.first().map(ToString::to_string).unwrap_or_default();
        if !self.dev_no_store_token {
            TokenFile::find()?.store(&credentials.root_token)?;
        }
        let unseal_key = STANDARD.encode(credentials.unseal_key.expose());
        let root_token = credentials.root_token.expose();
        let authority = match (self.dev_tls, self.dev_tls_cert_dir.as_deref()) {
            (false, _) => String::new(),
            (true, folder) => {
                let usual =
                    std::env::temp_dir().join(format!("holdfast-tls-{}", std::process::id()));
                let folder: &Path = folder.unwrap_or(&usual);
                format!("    $ export BAO_CACERT='{}/vault-ca.pem'\n", folder.display())
            }
        };
        println!(
            "==> Holdfast secrets server started!\n\n\
             WARNING! dev mode is enabled! In this mode, the server runs entirely in memory\n\
             and starts unsealed with a single unseal key. It forgets everything when it stops.\n\n\
             You may need to set the following environment variables:\n\n    \
                 $ export BAO_ADDR='{scheme}://{address}'\n\
             {authority}\n\
             The unseal key and root token are displayed below in case you want to\n\
             seal/unseal the server or re-authenticate.\n\n\
             Unseal Key: {unseal_key}\n\
             Root Token: {root_token}\n\n\
             Development mode should NOT be used in production installations!\n"
        );
        Ok(())
    }
}
