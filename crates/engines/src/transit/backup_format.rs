//! A key as OpenBao backs it up: base64 of the JSON of its Go structures, numbers of any size in
//! decimal. Private keys are in it in plain text: that is what a backup is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use holdfast_types::{SecretBytes, Timestamp};
use num_bigint::BigUint;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::der::{self, Reader, SEQUENCE};
use super::ecdsa::{Curve, Ecdsa};
use super::ed25519::Ed25519;
use super::encoding::{base64, from_base64};
use super::key::{Copied, Key, Settings, Version};
use super::key_type::KeyType;
use super::material::Material;
use super::pem;
use super::refused::Refused;
use super::rsa::Rsa;

/// The convergent encryption that there is, and how a key says that its versions say which.
const CONVERGENT: i64 = 3;
const EACH_VERSION: i64 = -1;

/// Go's time of nothing: the beginning of the year 1.
const ZERO_TIME: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// HKDF's number among the ways to derive keys.
const HKDF: i64 = 1;

/// A number of any size, as JSON has it.
type Number = Option<Box<RawValue>>;

#[derive(Serialize, Deserialize)]
struct Backup {
    policy: Policy,
    archived_keys: Option<Archive>,
}

#[derive(Serialize, Deserialize)]
struct Policy {
    name: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    key_size: usize,
    #[serde(default)]
    keys: BTreeMap<u32, Entry>,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    kdf: i64,
    #[serde(default)]
    convergent_encryption: bool,
    #[serde(default)]
    exportable: bool,
    min_decryption_version: u32,
    #[serde(default)]
    min_encryption_version: u32,
    latest_version: u32,
    #[serde(default)]
    archive_version: u32,
    #[serde(default)]
    archive_min_version: u32,
    #[serde(default)]
    min_available_version: u32,
    #[serde(default)]
    deletion_allowed: bool,
    #[serde(default)]
    convergent_version: i64,
    #[serde(rename = "type")]
    kind: u32,
    backup_info: Option<Copied>,
    restore_info: Option<Copied>,
    #[serde(default)]
    allow_plaintext_backup: bool,
    #[serde(default)]
    version_template: String,
    #[serde(default)]
    storage_prefix: String,
    /// In nanoseconds.
    #[serde(default)]
    auto_rotate_period: i64,
    #[serde(rename = "Imported", default)]
    imported: bool,
    #[serde(rename = "AllowImportedKeyRotation", default)]
    allow_imported_rotation: bool,
    #[serde(default)]
    soft_deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct Archive {
    keys: Option<Vec<Entry>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    key: Option<String>,
    hmac_key: Option<String>,
    time: Timestamp,
    ec_x: Number,
    ec_y: Number,
    ec_d: Number,
    rsa_key: Option<RsaKey>,
    rsa_public_key: Option<RsaPublicKey>,
    public_key: String,
    convergent_version: i64,
    creation_time: i64,
    certificate_chain: Option<Vec<String>>,
    external_key_ref: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RsaKey {
    n: Number,
    e: u64,
    d: Number,
    primes: Vec<Box<RawValue>>,
    #[serde(default)]
    precomputed: Precomputed,
}

#[derive(Default, Serialize, Deserialize)]
struct Precomputed {
    #[serde(rename = "Dp")]
    d_p: Number,
    #[serde(rename = "Dq")]
    d_q: Number,
    #[serde(rename = "Qinv")]
    q_inv: Number,
    /// For keys of more than two primes, which there are none of here.
    #[serde(rename = "CRTValues", default)]
    crt_values: Vec<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RsaPublicKey {
    n: Number,
    e: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Writes a key with all its versions.
pub(super) fn print(key: &Key) -> Result<String, Refused> {
    let settings = &key.settings;
    let convergent = settings.convergent;
    let entries = key.versions.iter();
    let entries = entries.map(|(number, version)| Ok((*number, Entry::of(version, convergent)?)));
    let mut all = entries.collect::<Result<BTreeMap<u32, Entry>, Refused>>()?;
    // The archive has every version at its place, counted from the oldest; before the first trim
    // there is an empty place for version 0.
    let mut archived = Vec::new();
    for number in settings.min_available_version..=settings.latest_version {
        archived.push(match key.versions.get(&number) {
            Some(version) => Entry::of(version, convergent)?,
            None => Entry { time: ZERO_TIME, ..Entry::default() },
        });
    }
    all.retain(|number, _| *number >= settings.min_decryption_version);
    let policy = Policy {
        name: key.name.clone(),
        key_size: settings.key_size,
        keys: all,
        derived: settings.derived,
        kdf: if settings.derived { HKDF } else { 0 },
        convergent_encryption: convergent,
        exportable: settings.exportable,
        min_decryption_version: settings.min_decryption_version,
        min_encryption_version: settings.min_encryption_version,
        latest_version: settings.latest_version,
        archive_version: settings.latest_version,
        archive_min_version: settings.min_available_version,
        min_available_version: settings.min_available_version,
        deletion_allowed: settings.deletion_allowed,
        convergent_version: if convergent { EACH_VERSION } else { 0 },
        kind: settings.kind.number(),
        backup_info: settings.backed_up,
        restore_info: settings.restored,
        allow_plaintext_backup: settings.allow_plaintext_backup,
        version_template: String::new(),
        storage_prefix: String::new(),
        auto_rotate_period: i64::try_from(settings.auto_rotate_period.as_nanos())
            .unwrap_or(i64::MAX),
        imported: settings.imported,
        allow_imported_rotation: settings.allow_imported_rotation,
        soft_deleted: settings.soft_deleted,
    };
    let backup = Backup { policy, archived_keys: Some(Archive { keys: Some(archived) }) };
    let json = serde_json::to_vec(&backup).map_err(|_| malformed("it does not encode"))?;
    Ok(base64(&zeroize::Zeroizing::new(json)))
}

/// Reads a backup: a key with all its versions, and the name it had.
pub(super) fn parse(text: &str) -> Result<Key, Refused> {
    let json = from_base64(text)?;
    // What serde says of it could quote a key.
    let backup: Backup =
        serde_json::from_slice(&json).map_err(|_| malformed("it is not the JSON of a key"))?;
    let Backup { policy, archived_keys } = backup;
    let kind = KeyType::from_number(policy.kind)
        .ok_or_else(|| malformed(&format!("its key type {} is not supported", policy.kind)))?;
    if !policy.version_template.is_empty() {
        return Err(malformed("its ciphertexts have a prefix of their own"));
    }
    if policy.derived && policy.kdf != HKDF {
        return Err(malformed("its way to derive keys is not supported"));
    }
    let mut settings = Settings {
        key_size: policy.key_size,
        derived: policy.derived,
        convergent: policy.convergent_encryption,
        exportable: policy.exportable,
        allow_plaintext_backup: policy.allow_plaintext_backup,
        deletion_allowed: policy.deletion_allowed,
        soft_deleted: policy.soft_deleted,
        imported: policy.imported,
        allow_imported_rotation: policy.allow_imported_rotation,
        auto_rotate_period: Duration::from_nanos(
            u64::try_from(policy.auto_rotate_period).unwrap_or_default(),
        ),
        latest_version: policy.latest_version,
        min_decryption_version: policy.min_decryption_version.max(1),
        min_encryption_version: policy.min_encryption_version,
        min_available_version: policy.min_available_version,
        backed_up: policy.backup_info,
        restored: policy.restore_info,
        ..Settings::new(kind, Timestamp::UNIX_EPOCH)
    };
    settings.check()?;
    let archived = archived_keys.and_then(|archive| archive.keys).unwrap_or_default();
    let archived = (policy.archive_min_version..).zip(archived);
    let mut entries: BTreeMap<u32, Entry> = archived.collect();
    entries.extend(policy.keys);
    entries.retain(|number, _| settings.available().contains(number));
    let missing = settings.available().find(|number| !entries.contains_key(number));
    let in_order = settings.min_decryption_version <= settings.latest_version
        && settings.min_encryption_version <= settings.latest_version;
    if let Some(missing) = missing {
        return Err(malformed(&format!("version {missing} is missing")));
    }
    if settings.latest_version == 0 || !in_order {
        return Err(malformed("its versions are out of order"));
    }
    let mut versions = BTreeMap::new();
    for (number, entry) in entries {
        let says = match entry.convergent_version {
            0 => policy.convergent_version,
            says => says,
        };
        if settings.convergent && says != CONVERGENT {
            return Err(malformed("its convergent encryption is of an old version"));
        }
        let version = entry.version(kind);
        let version = version.map_err(|error| malformed(&format!("version {number}: {error}")))?;
        versions.insert(number, Arc::new(version));
    }
    if let Some(latest) = versions.get(&settings.latest_version) {
        settings.rotated_at = latest.created_at;
    }
    Ok(Key { name: policy.name, settings, versions })
}

impl Entry {
    fn of(version: &Version, convergent: bool) -> Result<Self, Refused> {
        let lost = || malformed("a key does not encode");
        let chain = version.certificate_chain.iter().map(|der| base64(der)).collect::<Vec<_>>();
        let mut entry = Self {
            hmac_key: Some(base64(version.hmac_key.expose())),
            time: version.created_at,
            creation_time: version.created_at.as_second(),
            convergent_version: if convergent { CONVERGENT } else { 0 },
            certificate_chain: Some(chain).filter(|chain| !chain.is_empty()),
            ..Self::default()
        };
        match &*version.material {
            Material::Symmetric(key) => entry.key = Some(base64(key.bytes().expose())),
            Material::Hmac(key) => entry.key = Some(base64(key.expose())),
            Material::Ed25519(pair) => {
                entry.key = pair.private().map(|key| base64(key.expose()));
                entry.public_key = base64(pair.public());
            }
            Material::Ecdsa(pair) => {
                let (x, y) = pair.point()[1..].split_at(pair.curve().size());
                (entry.ec_x, entry.ec_y) = (number(x), number(y));
                entry.ec_d = pair.scalar().and_then(|scalar| number(scalar.expose()));
                entry.public_key = pem::encode("PUBLIC KEY", &pair.spki());
            }
            Material::Rsa(pair) => {
                let n = number(pair.modulus());
                let e = exponent(pair.exponent()).ok_or_else(lost)?;
                match pair.pkcs1() {
                    Some(pkcs1) => entry.rsa_key = Some(RsaKey::read(pkcs1).ok_or_else(lost)?),
                    None => entry.rsa_public_key = Some(RsaPublicKey { n, e }),
                }
            }
        }
        Ok(entry)
    }

    fn version(&self, kind: KeyType) -> Result<Version, Refused> {
        let bytes = |text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => from_base64(text).map(Some),
        };
        let missing = || Refused::new("the key is missing");
        let key = bytes(&self.key)?;
        let material = if let Some(curve) = Curve::of(kind) {
            let size = curve.size();
            let number = |number: &Number| sized(number, size).ok_or_else(missing);
            let point = [&[4][..], &number(&self.ec_x)?, &number(&self.ec_y)?].concat();
            Material::Ecdsa(match &self.ec_d {
                Some(_) => Ecdsa::from_scalar(curve, &number(&self.ec_d)?, &point)?,
                None => Ecdsa::from_point(curve, &point)?,
            })
        } else if kind.is_rsa() {
            let rsa = match (&self.rsa_key, &self.rsa_public_key) {
                (Some(key), _) => key.pair()?,
                (None, Some(key)) => {
                    let n = unsigned(&key.n).ok_or_else(missing)?;
                    let e = BigUint::from(key.e);
                    Rsa::from_numbers(&n.to_bytes_be(), &e.to_bytes_be())?
                }
                (None, None) => return Err(missing()),
            };
            if Some(rsa.modulus().len()) != kind.rsa_size() {
                return Err(Refused::new("the key has another size than its type"));
            }
            Material::Rsa(rsa)
        } else if kind == KeyType::Ed25519 {
            Material::Ed25519(match key {
                Some(key) => Ed25519::from_private(&key)?,
                None => Ed25519::from_public(&from_base64(&self.public_key)?)?,
            })
        } else {
            Material::import_bytes(kind, &key.ok_or_else(missing)?)?
        };
        let hmac_key: SecretBytes = match (&material, bytes(&self.hmac_key)?) {
            (Material::Hmac(key), _) => key.clone(),
            (_, Some(key)) => key.to_vec().into(),
            (_, None) => return Err(Refused::new("the HMAC key is missing")),
        };
        let chain = self.certificate_chain.iter().flatten();
        let chain = chain.map(|der| Ok(from_base64(der)?.to_vec()));
        let certificate_chain = chain.collect::<Result<_, Refused>>()?;
        let material = Arc::new(material);
        Ok(Version { created_at: self.time, material, hmac_key, certificate_chain })
    }
}

impl RsaKey {
    /// From RFC 8017's `RSAPrivateKey`.
    fn read(pkcs1: &[u8]) -> Option<Self> {
        let mut fields = Reader(Reader(pkcs1).expect(SEQUENCE)?);
        let _version = fields.expect(der::INTEGER)?;
        let mut next = || fields.unsigned();
        let (n, e, d, p, q) = (next()?, next()?, next()?, next()?, next()?);
        let (d_p, d_q, q_inv) = (next()?, next()?, next()?);
        Some(Self {
            n: number(n),
            e: exponent(e)?,
            d: number(d),
            primes: vec![number(p)?, number(q)?],
            precomputed: Precomputed {
                d_p: number(d_p),
                d_q: number(d_q),
                q_inv: number(q_inv),
                crt_values: Vec::new(),
            },
        })
    }

    fn pair(&self) -> Result<Rsa, Refused> {
        let missing = || Refused::new("the key is not complete");
        let [p, q] = &self.primes[..] else {
            return Err(Refused::new("RSA keys of more than two primes are not supported"));
        };
        let prime = |text: &RawValue| decimal(text.get()).ok_or_else(missing);
        let (p, q) = (prime(p)?, prime(q)?);
        let n = unsigned(&self.n).ok_or_else(missing)?;
        let d = unsigned(&self.d).ok_or_else(missing)?;
        let one = BigUint::from(1_u8);
        if p <= one || q <= one {
            return Err(missing());
        }
        // Computed where the backup is so old that it has them not.
        let given = &self.precomputed;
        let d_p = unsigned(&given.d_p).unwrap_or_else(|| &d % (&p - &one));
        let d_q = unsigned(&given.d_q).unwrap_or_else(|| &d % (&q - &one));
        let q_inv = unsigned(&given.q_inv).or_else(|| q.modinv(&p)).ok_or_else(missing)?;
        let [n, e, d, p, q, d_p, d_q, q_inv] =
            [n, self.e.into(), d, p, q, d_p, d_q, q_inv].map(|number| number.to_bytes_be());
        Rsa::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n: &n[..], e: &e[..] },
            d: &d[..],
            p: &p[..],
            q: &q[..],
            dP: &d_p[..],
            dQ: &d_q[..],
            qInv: &q_inv[..],
        })
    }
}

/// Big-endian bytes in decimal.
fn number(bytes: &[u8]) -> Number {
    RawValue::from_string(BigUint::from_bytes_be(bytes).to_str_radix(10)).ok()
}

fn unsigned(number: &Number) -> Option<BigUint> {
    decimal(number.as_ref()?.get())
}

/// The longest number that any key has: 4096 bits are 1234 digits.
const MOST_DIGITS: usize = 1300;

fn decimal(text: &str) -> Option<BigUint> {
    if text.len() > MOST_DIGITS {
        return None;
    }
    BigUint::parse_bytes(text.as_bytes(), 10)
}

/// The number in so many bytes.
fn sized(number: &Number, size: usize) -> Option<Vec<u8>> {
    let bytes = unsigned(number)?.to_bytes_be();
    let mut out = vec![0; size.checked_sub(bytes.len())?];
    out.extend(bytes);
    Some(out)
}

fn exponent(bytes: &[u8]) -> Option<u64> {
    let mut out = [0; 8];
    out.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(out))
}

fn malformed(why: &str) -> Refused {
    Refused::new(format!("the backup cannot be used: {why}"))
}
