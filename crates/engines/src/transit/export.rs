//! `export/<type>/<name>` and `byok-export/<destination>/<source>`: keys that leave, where they
//! allow it.

use holdfast_logical::{Error, Reply, Request};
use serde_json::{Map, json};

use super::encoding::{atoi, base64};
use super::key::{Key, Purpose, Version};
use super::key_type::KeyType;
use super::material::Material;
use super::pem;
use super::refused::Refused;
use super::route::Route;
use super::wrapping::{oaep, wrap};
use super::{Transit, answer};

/// What of a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Export {
    EncryptionKey,
    SigningKey,
    HmacKey,
    PublicKey,
    CertificateChain,
}

impl Export {
    fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::EncryptionKey,
            Self::SigningKey,
            Self::HmacKey,
            Self::PublicKey,
            Self::CertificateChain,
        ];
        all.into_iter().find(|export| export.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::EncryptionKey => "encryption-key",
            Self::SigningKey => "signing-key",
            Self::HmacKey => "hmac-key",
            Self::PublicKey => "public-key",
            Self::CertificateChain => "certificate-chain",
        }
    }

    /// Whether nobody must see it but whom the key trusts.
    fn is_secret(self) -> bool {
        !matches!(self, Self::PublicKey | Self::CertificateChain)
    }

    fn check(self, kind: KeyType) -> Result<(), Refused> {
        match self {
            Self::EncryptionKey if !kind.encrypts() => {
                Err(Refused::new("encryption not supported for the key"))
            }
            Self::SigningKey if !kind.signs() => {
                Err(Refused::new("signing not supported for the key"))
            }
            Self::CertificateChain if !kind.signs() => Err(Refused::new(
                "certificate chain not supported for keys that do not support signing",
            )),
            _ => Ok(()),
        }
    }
}

/// How it is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// As suits the kind of key.
    Default,
    /// The bytes, in base64.
    Raw,
    /// PKCS #8 or `SubjectPublicKeyInfo`, in base64.
    Der,
    /// The same as PEM.
    Pem,
}

impl Format {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Default),
            "raw" => Some(Self::Raw),
            "der" => Some(Self::Der),
            "pem" => Some(Self::Pem),
            _ => None,
        }
    }

    fn is_structured(self) -> bool {
        matches!(self, Self::Der | Self::Pem)
    }
}

impl Transit {
    /// `GET export/<type>/<name>[/<version>]?format=`
    pub(super) async fn export_key(&self, request: &Request, route: &Route<'_>) -> Reply {
        let what = Export::parse(route.before)
            .ok_or_else(|| Error::invalid(format!("invalid export type: {}", route.before)))?;
        let format = request.fields().string("format")?.unwrap_or_default();
        let format = Format::parse(&format)
            .ok_or_else(|| Error::invalid(format!("invalid format: {format}")))?;
        let Some(key) = self.keys.get(route.name).await? else { return Ok(None) };
        if what.is_secret() && !key.settings.exportable {
            return Err(Error::invalid("private key material is not exportable"));
        }
        key.check_usable()?;
        what.check(key.settings.kind)?;
        let exported = each_version(&key, route.after, |version| {
            export(key.settings.kind, version, what, format)
        })?;
        answer(json!({
            "name": key.name,
            "type": key.settings.kind.name(),
            "keys": exported,
        }))
    }

    /// `GET byok-export/<destination>/<source>[/<version>]?hash=`: encrypted for the owner of an RSA
    /// key, as another server imports it.
    pub(super) async fn export_wrapped(&self, request: &Request, route: &Route<'_>) -> Reply {
        let hash = request.fields().string("hash")?;
        let destination = self.existing(route.before, "no such destination key to export to");
        let destination = destination.await?;
        let usable = |key: &Key, which: &str| {
            key.check_usable().map_err(|error| Refused::new(format!("for {which} key: {error}")))
        };
        usable(&destination, "destination")?;
        let source = self.existing(route.name, "no such source key for export").await?;
        if !source.settings.exportable {
            return Err(Error::invalid("key is not exportable"));
        }
        usable(&source, "source")?;
        let algorithm = oaep(hash.as_deref().unwrap_or("SHA256"))?;
        let exported = each_version(&source, route.after, |version| {
            if !destination.settings.kind.signs() {
                let kind = destination.settings.kind;
                return Err(Refused::new(format!(
                    "key wrapping (requring message signing) is not supported for key type {kind}"
                )));
            }
            let (_, to) = destination.version_for(0, Purpose::KeyWrapping)?;
            let Material::Rsa(to) = &*to.material else {
                return Err(Refused::new("unsupported key type in use; must be a rsa key"));
            };
            let plain = version.material.pkcs8().or_else(|| version.material.private());
            let plain = plain.ok_or_else(|| {
                Refused::new("failed to wrap target key for import: its private half is missing")
            })?;
            Ok(base64(&wrap(to, algorithm, plain.expose(), &*self.random)?))
        })?;
        answer(json!({
            "name": source.name,
            "type": source.settings.kind.name(),
            "keys": exported,
        }))
    }
}

/// Does `each` for the version that is asked for: `latest`, `3`, `v3`; or for all where none is.
fn each_version(
    key: &Key,
    asked: &str,
    each: impl Fn(&Version) -> Result<String, Refused>,
) -> Result<Map<String, serde_json::Value>, Refused> {
    let number = match asked {
        "" => {
            let all = key.versions.iter();
            return all.map(|(n, version)| Ok((n.to_string(), each(version)?.into()))).collect();
        }
        "latest" => i64::from(key.settings.latest_version),
        number => atoi(number.strip_prefix('v').unwrap_or(number))
            .ok_or_else(|| Refused::new("invalid key version"))?,
    };
    if number < i64::from(key.settings.min_decryption_version) {
        return Err(Refused::new("version for export is below minimum decryption version"));
    }
    let version = u32::try_from(number).ok().and_then(|number| key.versions.get(&number));
    let version =
        version.ok_or_else(|| Refused::new("version does not exist or cannot be found"))?;
    Ok(Map::from_iter([(number.to_string(), each(version)?.into())]))
}

fn export(
    kind: KeyType,
    version: &Version,
    what: Export,
    format: Format,
) -> Result<String, Refused> {
    let symmetric = |bytes: &[u8]| match format {
        Format::Default | Format::Raw => Ok(base64(bytes)),
        Format::Der | Format::Pem => {
            Err(Refused::new("unknown format for HMAC key; supported values are `` or `raw`"))
        }
    };
    match (what, &*version.material) {
        (Export::HmacKey, _) => symmetric(version.hmac_key.expose()),
        (Export::EncryptionKey, Material::Symmetric(key)) => symmetric(key.bytes().expose()),
        (Export::EncryptionKey | Export::SigningKey, Material::Rsa(pair)) => {
            if format == Format::Raw {
                return Err(no_raw("rsa"));
            }
            Ok(match (format, pair.pkcs1(), pair.pkcs8()) {
                (Format::Default, Some(pkcs1), _) => pem::encode("RSA PRIVATE KEY", pkcs1),
                (_, _, Some(pkcs8)) => structured("PRIVATE KEY", pkcs8.expose(), format),
                _ => String::new(),
            })
        }
        (Export::SigningKey, Material::Ecdsa(pair)) => {
            if format == Format::Raw {
                return Err(no_raw("ec"));
            }
            let text = match (format, pair.sec1(), pair.pkcs8()) {
                (Format::Default, Some(sec1), _) => pem::encode("EC PRIVATE KEY", &sec1),
                (_, _, Some(pkcs8)) => structured("PRIVATE KEY", &pkcs8, format),
                _ => String::new(),
            };
            Ok(text.trim_end().to_owned())
        }
        (Export::SigningKey, Material::Ed25519(pair)) => Ok(match (pair.private(), pair.pkcs8()) {
            (Some(_), Some(pkcs8)) if format.is_structured() => {
                structured("PRIVATE KEY", &pkcs8, format).trim_end().to_owned()
            }
            (Some(expanded), _) => base64(expanded.expose()),
            _ => String::new(),
        }),
        (Export::PublicKey, Material::Ed25519(pair)) => Ok(match format.is_structured() {
            true => structured("PUBLIC KEY", &pair.spki(), format).trim_end().to_owned(),
            false => base64(pair.public()),
        }),
        (Export::PublicKey, Material::Ecdsa(pair)) => {
            if format == Format::Raw {
                return Err(no_raw("ec"));
            }
            Ok(structured("PUBLIC KEY", &pair.spki(), format).trim_end().to_owned())
        }
        (Export::PublicKey, Material::Rsa(pair)) => {
            if format == Format::Raw {
                return Err(no_raw("rsa"));
            }
            Ok(structured("PUBLIC KEY", pair.spki(), format))
        }
        (Export::CertificateChain, _) if version.certificate_chain.is_empty() => {
            Err(Refused::new("selected key version does not have a certificate chain imported"))
        }
        (Export::CertificateChain, _) => Ok(version.chain_pem()),
        _ => Err(Refused::new(format!("unknown key type {kind} for export type {}", what.name()))),
    }
}

fn structured(label: &str, der: &[u8], format: Format) -> String {
    if format == Format::Der { base64(der) } else { pem::encode(label, der) }
}

fn no_raw(kind: &str) -> Refused {
    Refused::new(format!(
        "unknown key format for {kind} key; supported values are ``, `der`, or `pem`"
    ))
}
