"""Logs in with hvac by certificate and by JWT, over TLS, as a service would that has an SVID.

Usage: logins.py ADDRESS ROOT_TOKEN FOLDER ENGINE. The folder holds authority.pem (of the clients),
web.pem and svid.pem with their .key, jwt.pem (a public key) and svid.jwt and other.jwt, signed with
its private half. ENGINE is "ours", or "real" for what has neither the method `spiffe` nor logins
without a common name.
"""

import sys
from pathlib import Path

import hvac
from hvac import exceptions

ADDRESS, ROOT_TOKEN, FOLDER, ENGINE = sys.argv[1:5]
ID = "spiffe://demo.local/ns/apps/sa/backend"


def file(name):
    return str(Path(FOLDER) / name)


def text(name):
    return Path(file(name)).read_text()


def anonymous(certificate=None):
    cert = (file(f"{certificate}.pem"), file(f"{certificate}.key")) if certificate else None
    return hvac.Client(url=ADDRESS, cert=cert)


def refused(error, call, *arguments, **named):
    try:
        answer = call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{call} was not refused but answered {answer!r}")


def same(got, want):
    assert got == want, f"{got!r} should be {want!r}"


def itself(client):
    """What the client's token is."""
    return client.auth.token.lookup_self()["data"]


def by_certificate(root):
    root.sys.enable_auth_method("cert", path="login-cert")
    root.auth.cert.create_ca_certificate_role(
        "web",
        certificate=text("authority.pem"),
        allowed_common_names="web.example",
        token_policies=["web"],
        token_ttl="10m",
        mount_point="login-cert",
    )
    client = anonymous()
    client.auth.cert.login(
        name="web",
        cert_pem=file("web.pem"),
        key_pem=file("web.key"),
        mount_point="login-cert",
    )
    same(itself(client)["policies"], ["default", "web"])
    same(itself(client)["meta"]["common_name"], "web.example")
    # A renewal is for whoever shows the certificate.
    refused(exceptions.InvalidRequest, client.auth.token.renew_self)
    shown = anonymous("web")
    shown.token = client.token
    same(shown.auth.token.renew_self()["auth"]["renewable"], True)
    refused(exceptions.InvalidRequest, anonymous().login, "/v1/auth/login-cert/login", json={})

    root.auth.cert.create_ca_certificate_role(
        "svids",
        certificate=text("authority.pem"),
        allowed_uri_sans="spiffe://demo.local/*",
        mount_point="login-cert",
    )
    svid = anonymous("svid")
    if ENGINE == "real":
        refused(exceptions.InternalServerError, svid.login, "/v1/auth/login-cert/login", json={})
        return
    svid.login("/v1/auth/login-cert/login", json={"name": "svids"})
    same(itself(svid)["meta"]["spiffe_id"], ID)
    entity = root.secrets.identity.read_entity(itself(svid)["entity_id"])["data"]
    same([alias["name"] for alias in entity["aliases"]], [ID])


def by_jwt(root):
    root.sys.enable_auth_method("jwt", path="login-jwt")
    root.auth.jwt.configure(jwt_validation_pubkeys=[text("jwt.pem")], path="login-jwt")
    root.auth.jwt.create_role(
        "backend",
        user_claim="sub",
        allowed_redirect_uris=[],
        bound_audiences=["vault"],
        bound_subject=ID,
        token_policies=["backend"],
        path="login-jwt",
    )
    client = anonymous()
    client.auth.jwt.jwt_login("backend", text("svid.jwt"), path="login-jwt")
    same(itself(client)["policies"], ["backend", "default"])
    same(itself(client)["display_name"], f"login-jwt-{ID}")
    same(itself(client)["meta"].get("spiffe_id"), None if ENGINE == "real" else ID)
    login = anonymous().auth.jwt.jwt_login
    refused(exceptions.InvalidRequest, login, "backend", text("other.jwt"), path="login-jwt")
    refused(exceptions.InvalidRequest, login, "backend", "a.b.c", path="login-jwt")


def by_svid(root):
    root.sys.enable_auth_method(
        "spiffe", path="login-spiffe", config={"passthrough_request_headers": ["Authorization"]}
    )
    bundle = text("bundle.json")
    root.write(
        "auth/login-spiffe/config",
        trust_domain="demo.local",
        profile="static",
        bundle=bundle,
        audience="vault",
    )
    root.write(
        "auth/login-spiffe/role/apps", workload_id_patterns="/ns/apps/sa/+", token_policies="apps"
    )
    login = "/v1/auth/login-spiffe/login"
    by_x509 = anonymous("svid")
    by_x509.login(login, json={"role": "apps"})
    in_body = anonymous()
    in_body.login(login, json={"role": "apps", "jwt": text("svid.jwt")})
    as_bearer = anonymous()
    headers = {"Authorization": f"Bearer {text('svid.jwt')}"}
    as_bearer.login(login, json={"role": "apps"}, headers=headers)
    for client, kind in [(by_x509, "x509"), (in_body, "jwt"), (as_bearer, "jwt")]:
        same(itself(client)["policies"], ["apps", "default"])
        same(itself(client)["meta"]["spiffe_id"], ID)
        same(itself(client)["meta"]["svid_type"], kind)
    for client, body in [
        (anonymous("web"), {"role": "apps"}),
        (anonymous("svid"), {"role": "other"}),
        (anonymous(), {"role": "apps", "jwt": text("other.jwt")}),
    ]:
        refused(exceptions.Forbidden, client.login, login, json=body)
    refused(exceptions.InvalidRequest, anonymous().login, login, json={"role": "apps"})


def main():
    root = hvac.Client(url=ADDRESS, token=ROOT_TOKEN)
    by_certificate(root)
    by_jwt(root)
    if ENGINE == "ours":
        by_svid(root)


main()
