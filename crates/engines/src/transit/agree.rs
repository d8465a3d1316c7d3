//! `derive-key/<name>`: a key that this server and another party agree on (ECDH).

use holdfast_logical::{Error, Reply, Request};

use super::Transit;
use super::ecdsa::Ecdsa;
use super::key::Settings;
use super::key_type::KeyType;
use super::material::Material;
use super::pem;
use super::refused::Refused;

impl Transit {
    /// `POST derive-key/<name>`
    pub(super) async fn agree_on_key(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let text = |name| Ok::<_, Error>(fields.string(name)?.unwrap_or_default());
        let algorithm = fields.string("key_derivation_algorithm")?;
        if let Some(other) = algorithm.filter(|algorithm| algorithm != "ecdh") {
            return Err(Error::invalid(format!("key derivation algorithm {other} not supported")));
        }
        let peer = text("peer_public_key")?;
        if peer.is_empty() {
            return Err(Error::invalid("peer public key not provided"));
        }
        let version = fields.integer("base_key_version")?.unwrap_or_default();
        let kind = fields.string("derived_key_type")?.unwrap_or_else(|| "aes256-gcm96".to_owned());
        let unknown = || Error::invalid(format!("unknown key type {kind}"));
        let kind = KeyType::parse(&kind.to_lowercase())?.filter(|kind| kind.is_aead());
        let kind = kind.ok_or_else(unknown)?;
        let base = text("base_key_name")?;
        let base = self.existing(&base, "specified base key not found").await?;
        let base_kind = base.settings.kind;
        if !base_kind.is_ecdsa() {
            return Err(Error::invalid(format!(
                "base key type {base_kind} does not support key agreement"
            )));
        }
        base.check_usable()?;
        let number = check_version(version, &base.settings)?;
        let Material::Ecdsa(own) = &*base.version(number)?.material else {
            return Err(Error::invalid("unsupported base key type for ECDH key agreement"));
        };
        let peer = read_peer(&peer, own, base_kind)?;
        let agreed = own.agree(&peer, kind.symmetric_size().unwrap_or_default())?;
        let material = Material::import_bytes(kind, &agreed)?;
        let settings = Settings { imported: true, ..Settings::new(kind, self.clock.now()) };
        self.add_imported(name, settings, material).await?;
        Ok(None)
    }
}

fn check_version(asked: i64, settings: &Settings) -> Result<u32, Refused> {
    let refuse = |why| Err(Refused::new(format!("requested version of the base key is {why}")));
    if asked < 0 {
        return refuse("negative");
    }
    if asked > i64::from(settings.latest_version) {
        return refuse("higher than the latest key version");
    }
    match u32::try_from(asked).unwrap_or_default() {
        0 => Ok(settings.latest_version),
        asked if asked < settings.min_available_version => {
            refuse("less than the minimum available key version")
        }
        asked => Ok(asked),
    }
}

fn read_peer(text: &str, own: &Ecdsa, kind: KeyType) -> Result<Ecdsa, Refused> {
    let failed =
        |why: &str| Refused::new(format!("failed to parse supplied peer public key PEM: {why} "));
    let (_, spki) =
        pem::decode(text).ok_or_else(|| failed("data does not contain any valid public keys"))?;
    match Material::from_spki(&spki).map_err(|error| failed(&error.to_string()))?.0 {
        Material::Ecdsa(peer) if peer.curve() == own.curve() => Ok(peer),
        Material::Ecdsa(_) => Err(Refused::new(format!(
            "base private key type {kind} does not match peer public key curve"
        ))),
        _ => Err(Refused::new("supplied peer public key is not an ECDSA key")),
    }
}
