//! The SPIFFE server: its authorities are intermediates under the platform root.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use holdfast_types::SecretBytes;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tokio::net::UnixStream;

use super::super::account::Account;
use super::super::config::Platform;
use super::super::files;
use super::super::launch::{Launch, MARK};
use super::super::part::PartPlan;
use super::super::root::PlatformRoot;
use super::super::state::State;
use super::{SERVER, Sockets};
use crate::spiffe::WEB;

/// Its uid, among those of the platform: the last, as services are counted from the first.
pub(crate) const SLOT: u32 = 15;

/// A SPIFFE server to be run.
pub(crate) struct Server {
    account: Account,
    directory: PathBuf,
    sockets: Sockets,
    /// Where it publishes the bundle and its keys.
    pub(crate) web: SocketAddr,
}

impl Server {
    /// Makes its directories.
    pub(crate) fn prepare(
        state: &State,
        sockets: &Sockets,
        web: SocketAddr,
    ) -> anyhow::Result<Self> {
        let account = match Uid::effective().is_root() {
            true => Account::own(state.directory(), SLOT)?,
            false => Account::caller(),
        };
        let directory = state.join(SERVER);
        files::directory(&directory, 0o700, Some(&account))?;
        sockets.make(&account)?;
        Ok(Self { account, directory, sockets: sockets.clone(), web })
    }

    /// Where what declares entries is written for it.
    pub(crate) fn declared(state: &State) -> PathBuf {
        state.join("identity")
    }

    /// The URL under which its discovery document is found, and the issuer of its tokens.
    pub(crate) fn issuer(web: SocketAddr) -> String {
        format!("https://localhost:{}", web.port())
    }

    /// How it is run: the key of its store, that of the platform root and `web`, the socket at its
    /// address of that name, are handed over on descriptors.
    pub(crate) fn plan(
        &self,
        platform: &Platform,
        state: &State,
        root: &PlatformRoot,
        seal_key: &SecretBytes,
        web: TcpListener,
    ) -> anyhow::Result<PartPlan> {
        let seal_key = files::in_memory("holdfast-spiffe-key", seal_key.expose(), &self.account)?;
        let root_key = root.key_pem();
        let root_key =
            files::in_memory("holdfast-root-key", root_key.expose().as_bytes(), &self.account)?;
        let descriptor = |file: &std::fs::File| format!("/dev/fd/{}", file.as_raw_fd());
        let declared = Self::declared(state);
        let program = std::env::current_exe().context("find our own program")?;
        let mut arguments: Vec<OsString> = vec!["spiffe".into(), "server".into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("-trustDomain", platform.trust_domain.clone().into());
        option("-dataDir", self.directory.clone().into());
        option("-sealKey", descriptor(&seal_key).into());
        option("-socketPath", self.sockets.server.clone().into());
        option("-upstreamCert", state.ca_file().into());
        option("-upstreamKey", descriptor(&root_key).into());
        option("-identity", declared.clone().into());
        option("-workloads", declared.join(super::declared::WORKLOADS).into());
        option("-clusterName", platform.name.clone().into());
        option("-clusterDomain", platform.domain.clone().into());
        option("-webAddress", self.web.to_string().into());
        option("-dnsName", "localhost".into());
        option("-jwtIssuer", Self::issuer(self.web).into());
        if !platform.vault.is_supervised() {
            arguments.push("-jwtKeysAreBrought".into());
        }
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("-auditLog", self.directory.join("audit.log").into());
        if let Some(lifetime) = root.authority_lifetime() {
            option("-caTTL", format!("{}s", lifetime.as_secs()).into());
            // As its defaults are to each other.
            option("-x509SVIDTTL", format!("{}s", lifetime.as_secs() / 6).into());
            option("-jwtSVIDTTL", format!("{}s", lifetime.as_secs() / 12).into());
        }
        let launch = Launch {
            program,
            arguments,
            environment: vec![
                (MARK.to_owned(), state.directory().into()),
                ("PATH".to_owned(), "/usr/bin:/bin".into()),
                ("HOME".to_owned(), self.directory.clone().into()),
            ],
            directory: self.directory.clone(),
            account: self.account.clone(),
            death_signal: Signal::SIGKILL,
            inherit: vec![seal_key.into(), root_key.into()],
            socket: Some((WEB, web.into())),
            secrets: None,
            confinement: None,
            cgroup: None,
            introduced: None,
        };
        let socket = self.sockets.server.clone();
        Ok(PartPlan {
            name: SERVER.to_owned(),
            launch,
            prepare: Box::new(|| Ok(())),
            probe: Arc::new(move || {
                let socket = socket.clone();
                Box::pin(async move {
                    UnixStream::connect(&socket).await.context("it does not listen yet")?;
                    Ok(())
                })
            }),
            stop_signal: Signal::SIGTERM,
            patience: Duration::from_secs(10),
        })
    }
}
