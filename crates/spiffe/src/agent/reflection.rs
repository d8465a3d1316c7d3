//! What there is on the socket, for tools such as `grpcurl`. It says nothing of anybody's identity.

use tonic_reflection::server::{Builder, Error, v1, v1alpha};

use crate::proto::PUBLIC;

/// The service in its present and in its older form; none where the descriptors cannot be read,
/// which a test holds against.
pub(super) fn services() -> (
    Option<v1::ServerReflectionServer<impl v1::ServerReflection>>,
    Option<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>>,
) {
    let builder = || Builder::configure().register_encoded_file_descriptor_set(PUBLIC);
    let told = |error: &Error| tracing::error!(%error, "serve reflection");
    (builder().build_v1().inspect_err(told).ok(), builder().build_v1alpha().inspect_err(told).ok())
}
