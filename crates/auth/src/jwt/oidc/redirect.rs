//! Where an issuer may send its user back to.

use reqwest::Url;

/// Whether a role that allows `allowed` may be answered at `uri`. A program on the user's own machine
/// listens where it can, so that the port of a loopback address does not count (RFC 8252).
pub(super) fn is_allowed(uri: &str, allowed: &[String]) -> bool {
    match without_loopback_port(uri) {
        None => allowed.iter().any(|one| one == uri),
        Some(uri) => allowed.iter().any(|one| without_loopback_port(one).as_ref() == Some(&uri)),
    }
}

/// None: no URL, or of another machine.
fn without_loopback_port(uri: &str) -> Option<Url> {
    let mut url = Url::parse(uri).ok()?;
    if !matches!(url.host_str()?, "localhost" | "127.0.0.1" | "[::1]") {
        return None;
    }
    url.set_port(None).ok()?;
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_role_names_is_allowed_but_for_a_loopback_port() {
        let allowed = ["http://localhost:8250/oidc/callback", "https://ui/cb", "http://[::1]:1/x"]
            .map(str::to_owned);
        for (uri, want) in [
            ("http://localhost:8250/oidc/callback", true),
            ("http://localhost:9999/oidc/callback", true),
            ("http://localhost/oidc/callback", true),
            ("http://[::1]:2/x", true),
            ("http://127.0.0.1:8250/oidc/callback", false),
            ("https://localhost:8250/oidc/callback", false),
            ("http://localhost:8250/other", false),
            ("http://localhost:8250/oidc/callback?x=1", false),
            ("https://ui/cb", true),
            ("https://ui:443/cb", false),
            ("https://ui/cb?x=1", false),
            ("https://ui/cb/", false),
            ("https://evil/cb", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(uri, &allowed), want, "{uri}");
        }
    }
}
