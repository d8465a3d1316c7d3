//! The mount's RSA key that imported keys are encrypted with, and how: an AES key by RSA-OAEP, the
//! imported key by that AES key with AES-KWP (PKCS #11's `CKM_RSA_AES_KEY_WRAP`).

use std::sync::Arc;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm,
};
use holdfast_logical::{Error, Reply};
use holdfast_types::{Random, Secret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::encoding::{base64, from_base64};
use super::key_type::KeyType;
use super::pem;
use super::refused::Refused;
use super::rsa::Rsa;
use super::{Transit, answer, compute};

const ENTRY: &str = "wrapping-key";

/// How long what RSA-4096 encrypts is.
const WRAPPED_AES_KEY: usize = 512;

/// The key, once it was needed.
#[derive(Default)]
pub(super) struct WrappingKey(OnceCell<Arc<Rsa>>);

#[derive(Serialize, Deserialize)]
struct Stored {
    /// PKCS #8, in base64.
    pkcs8: SecretString,
}

impl Transit {
    /// `GET wrapping_key`
    pub(super) async fn read_wrapping_key(&self) -> Reply {
        let key = self.wrapping_key().await?;
        answer(json!({ "public_key": pem::encode("PUBLIC KEY", key.spki()) }))
    }

    /// The wrapping key, made when it is first asked for.
    pub(super) async fn wrapping_key(&self) -> Result<Arc<Rsa>, Error> {
        let key = self.wrapping.0.get_or_try_init(async || {
            let damaged = |why: Refused| Error::internal("load the wrapping key", why);
            if let Some(stored) = self.storage.get_json::<Stored>(ENTRY).await? {
                let pkcs8 = from_base64(stored.pkcs8.expose()).map_err(damaged)?;
                return Ok(Arc::new(Rsa::from_pkcs8(&pkcs8).map_err(damaged)?));
            }
            let key = compute(|| Rsa::generate(KeyType::Rsa4096)).await?.map_err(damaged)?;
            let pkcs8 = key.pkcs8().map(|pkcs8| base64(pkcs8.expose())).unwrap_or_default();
            self.storage.put_json(ENTRY, &Stored { pkcs8: Secret::new(pkcs8) }).await?;
            Ok::<_, Error>(Arc::new(key))
        });
        key.await.cloned()
    }
}

/// The OAEP of that hash function: SHA1, SHA256, SHA384 or SHA512.
pub(super) fn oaep(hash_function: &str) -> Result<&'static OaepAlgorithm, Refused> {
    match hash_function.to_uppercase().as_str() {
        "SHA1" => Ok(&OAEP_SHA1_MGF1SHA1),
        "SHA256" => Ok(&OAEP_SHA256_MGF1SHA256),
        "SHA384" => Ok(&OAEP_SHA384_MGF1SHA384),
        "SHA512" => Ok(&OAEP_SHA512_MGF1SHA512),
        "SHA224" => Err(Refused::new("hash function SHA224 is not supported by this server")),
        _ => Err(Refused::new(format!("unknown hash function: {hash_function}"))),
    }
}

/// Decrypts what [`wrap`] gave.
pub(super) fn unwrap(
    key: &Rsa,
    algorithm: &'static OaepAlgorithm,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if ciphertext.len() <= WRAPPED_AES_KEY {
        return Err(Refused::new("provided ciphertext is too short"));
    }
    let (wrapped_aes_key, wrapped) = ciphertext.split_at(WRAPPED_AES_KEY);
    let aes_key = key.decrypt_with(algorithm, wrapped_aes_key)?;
    if aes_key.len() != 32 {
        return Err(Refused::new("expected ephemeral AES key to be 256-bit"));
    }
    let failed = |_| Refused::new("the wrapped key does not decrypt with the ephemeral AES key");
    let aes_key = AesKek::new(&AES_256, &aes_key).map_err(failed)?;
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let length = aes_key.unwrap_with_padding(wrapped, &mut out).map_err(failed)?.len();
    out.truncate(length);
    Ok(out)
}

/// Encrypts `plain` for the owner of `key`.
pub(super) fn wrap(
    key: &Rsa,
    algorithm: &'static OaepAlgorithm,
    plain: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, Refused> {
    let failed = |_| Refused::new("failed to wrap target key with KWP");
    let mut aes_key = Zeroizing::new([0; 32]);
    random.fill(&mut *aes_key);
    let mut out = key.encrypt_with(algorithm, &*aes_key)?;
    let aes_key = AesKek::new(&AES_256, &*aes_key).map_err(failed)?;
    // Padded to eights, and eight more.
    let mut wrapped = vec![0; plain.len().div_ceil(8) * 8 + 8];
    out.extend_from_slice(aes_key.wrap_with_padding(plain, &mut wrapped).map_err(failed)?);
    Ok(out)
}
