//! What a login asks of the cluster beyond the token itself.

use holdfast_client::kubernetes::{Api, ReviewError as ApiReviewError, User};
use holdfast_types::SecretString;

use super::service_account::ServiceAccount;

/// Why the cluster does not confirm a login.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error(transparent)]
    Review(#[from] ApiReviewError),
    #[error("the cluster says that the token is of {0:?}, not of this service account")]
    Other(String),
}

/// Has the cluster confirm that `token` is good, and of `account`.
pub(super) async fn review(
    api: Api<'_>,
    token: &SecretString,
    account: &ServiceAccount,
    audience: &str,
) -> Result<(), ReviewError> {
    let audiences = match audience {
        "" => account.audiences.clone(),
        audience => vec![audience.to_owned()],
    };
    let User { username, uid, .. } = api.review(token, &audiences).await?;
    let expected = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
    match username == expected && uid == account.uid {
        true => Ok(()),
        false => Err(ReviewError::Other(username)),
    }
}
