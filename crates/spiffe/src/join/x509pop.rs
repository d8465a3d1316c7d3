//! Joining by a certificate: the answer that only its key can give.

use holdfast_keys::x509::{Hash, PrivateKey};
use holdfast_types::{Random as _, SecretString, SystemRandom};

use super::JoinError;
use crate::pop::{NONCE, message};

/// The answer to a challenge: a number of ours, and a signature over both.
pub(super) fn possession(challenge: &[u8], key: &SecretString) -> Result<Vec<u8>, JoinError> {
    let challenge = <&[u8; NONCE]>::try_from(challenge);
    let challenge =
        challenge.map_err(|_| JoinError::Answer("holds a challenge of another size"))?;
    let key = PrivateKey::from_pem(key.expose())?;
    let mut answer = vec![0; NONCE];
    SystemRandom.fill(&mut answer);
    let algorithm = key.signature_algorithm(Hash::Sha256, false);
    let signature = key.sign(algorithm, &message(challenge, &answer))?;
    answer.extend_from_slice(&signature);
    Ok(answer)
}
