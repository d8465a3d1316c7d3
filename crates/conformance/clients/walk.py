"""Walks the secrets server's API with hvac, as a program would, and asserts what comes back.

Usage: walk.py ADDRESS ROOT_TOKEN. Prints one line a walk; ends with status 1 at the first surprise.
It makes mounts, policies and roles whose names begin with `walk-`, and removes them.
"""

import sys
import time
import traceback

import hvac
from hvac import exceptions

ADDRESS, ROOT_TOKEN = sys.argv[1:3]


def client(token=ROOT_TOKEN):
    return hvac.Client(url=ADDRESS, token=token)


def refused(error, call, *arguments, says=None, **named):
    """The call is refused with this error, and with these words where any are given."""
    try:
        answer = call(*arguments, **named)
    except error as refusal:
        if says is not None:
            assert says in str(refusal), f"{says!r} is not in {str(refusal)!r}"
        return
    raise AssertionError(f"{call} was not refused but answered {answer!r}")


def same(got, want):
    assert got == want, f"{got!r} should be {want!r}"


def kv_version_2():
    root = client()
    root.sys.enable_secrets_engine("kv", path="walk-kv", options={"version": "2"})
    try:
        kv = root.secrets.kv.v2
        at = {"mount_point": "walk-kv"}
        written = kv.create_or_update_secret("app/db", secret={"user": "a", "password": "1"}, **at)
        same(written["data"]["version"], 1)
        kv.create_or_update_secret("app/db", secret={"user": "a", "password": "2"}, cas=1, **at)
        refused(
            exceptions.InvalidRequest,
            kv.create_or_update_secret,
            "app/db",
            secret={},
            cas=1,
            says="check-and-set parameter did not match the current version",
            **at,
        )
        read = kv.read_secret_version("app/db", raise_on_deleted_version=True, **at)
        same(read["data"]["data"], {"user": "a", "password": "2"})
        read = kv.read_secret_version("app/db", version=1, raise_on_deleted_version=True, **at)
        same(read["data"]["data"]["password"], "1")
        # Read, merge, write with check-and-set: hvac's own way to patch.
        kv.patch("app/db", secret={"password": "3"}, **at)
        read = kv.read_secret_version("app/db", raise_on_deleted_version=True, **at)
        same(read["data"]["data"], {"user": "a", "password": "3"})

        kv.delete_latest_version_of_secret("app/db", **at)
        refused(
            exceptions.InvalidPath,
            kv.read_secret_version,
            "app/db",
            raise_on_deleted_version=True,
            **at,
        )
        deleted = kv.read_secret_version("app/db", raise_on_deleted_version=False, **at)
        assert deleted["data"]["data"] is None
        assert deleted["data"]["metadata"]["deletion_time"] != ""
        kv.undelete_secret_versions("app/db", versions=[3], **at)
        kv.read_secret_version("app/db", raise_on_deleted_version=True, **at)
        kv.delete_secret_versions("app/db", versions=[1, 2], **at)
        kv.destroy_secret_versions("app/db", versions=[1], **at)
        metadata = kv.read_secret_metadata("app/db", **at)["data"]
        same(metadata["current_version"], 3)
        same(metadata["versions"]["1"]["destroyed"], True)
        assert metadata["versions"]["2"]["deletion_time"] != ""

        kv.update_metadata("app/db", max_versions=5, custom_metadata={"owner": "team-a"}, **at)
        metadata = kv.read_secret_metadata("app/db", **at)["data"]
        same(metadata["custom_metadata"], {"owner": "team-a"})
        same(metadata["max_versions"], 5)

        kv.create_or_update_secret("other", secret={}, **at)
        same(kv.list_secrets("", **at)["data"]["keys"], ["app/", "other"])
        same(kv.list_secrets("app", **at)["data"]["keys"], ["db"])
        refused(exceptions.InvalidPath, kv.list_secrets, "nothing", **at)
        kv.configure(max_versions=2, cas_required=True, **at)
        same(kv.read_configuration(**at)["data"]["max_versions"], 2)
        refused(
            exceptions.InvalidRequest,
            kv.create_or_update_secret,
            "other",
            secret={},
            says="check-and-set parameter required for this call",
            **at,
        )
        kv.delete_metadata_and_all_versions("app/db", **at)
        refused(exceptions.InvalidPath, kv.read_secret_metadata, "app/db", **at)
    finally:
        root.sys.disable_secrets_engine("walk-kv")


def kv_version_1():
    root = client()
    root.sys.enable_secrets_engine("kv", path="walk-kv1", options={"version": "1"})
    try:
        kv = root.secrets.kv.v1
        at = {"mount_point": "walk-kv1"}
        kv.create_or_update_secret("a", secret={"x": "y"}, **at)
        same(kv.read_secret("a", **at)["data"], {"x": "y"})
        same(kv.list_secrets("", **at)["data"]["keys"], ["a"])
        kv.delete_secret("a", **at)
        refused(exceptions.InvalidPath, kv.read_secret, "a", **at)
    finally:
        root.sys.disable_secrets_engine("walk-kv1")


def approle_and_wrapping():
    root = client()
    root.sys.enable_auth_method("approle", path="walk-approle")
    root.sys.create_or_update_policy(
        "walk-reader", 'path "secret/data/walk/*" { capabilities = ["read"] }'
    )
    try:
        approle = root.auth.approle
        at = {"mount_point": "walk-approle"}
        approle.create_or_update_approle(
            "app",
            token_policies=["walk-reader"],
            token_ttl="10m",
            token_max_ttl="1h",
            secret_id_num_uses=2,
            **at,
        )
        same(approle.list_roles(**at)["data"]["keys"], ["app"])
        same(approle.read_role("app", **at)["data"]["token_policies"], ["walk-reader"])
        role_id = approle.read_role_id("app", **at)["data"]["role_id"]

        # The secret id travels wrapped: whoever unwraps it first has it alone.
        wrapped = approle.generate_secret_id("app", wrap_ttl="60s", **at)["wrap_info"]
        same(wrapped["ttl"], 60)
        secret_id = client(wrapped["token"]).sys.unwrap()["data"]["secret_id"]
        refused(
            exceptions.InvalidRequest,
            client(wrapped["token"]).sys.unwrap,
            says="wrapping token is not valid or does not exist",
        )

        app = client(token=None)
        login = app.auth.approle.login(role_id, secret_id, use_token=True, **at)
        same(login["auth"]["lease_duration"], 600)
        same(sorted(login["auth"]["policies"]), ["default", "walk-reader"])
        same(login["auth"]["metadata"], {"role_name": "app"})
        assert app.is_authenticated()

        root.secrets.kv.v2.create_or_update_secret("walk/a", secret={"x": "y"})
        read = app.secrets.kv.v2.read_secret_version("walk/a", raise_on_deleted_version=True)
        same(read["data"]["data"], {"x": "y"})
        refused(
            exceptions.Forbidden,
            app.secrets.kv.v2.create_or_update_secret,
            "walk/a",
            secret={},
            says="permission denied",
        )

        app.auth.approle.login(role_id, secret_id, use_token=False, **at)
        refused(
            exceptions.InvalidRequest,
            app.auth.approle.login,
            role_id,
            secret_id,
            use_token=False,
            says="invalid role or secret ID",
            **at,
        )
        made = approle.generate_secret_id("app", metadata={"build": "7"}, **at)["data"]
        known = approle.read_secret_id("app", made["secret_id"], **at)["data"]
        same(known["metadata"], {"build": "7"})
        same(known["secret_id_num_uses"], 2)
        accessor = made["secret_id_accessor"]
        same(
            approle.read_secret_id_accessor("app", accessor, **at)["data"]["secret_id_accessor"],
            accessor,
        )
        same(approle.list_secret_id_accessors("app", **at)["data"]["keys"], [accessor])
        approle.destroy_secret_id_accessor("app", accessor, **at)
        refused(exceptions.InvalidPath, approle.list_secret_id_accessors, "app", **at)

        app.auth.token.renew_self(increment="20m")
        same(app.auth.token.lookup_self()["data"]["meta"], {"role_name": "app"})
        approle.delete_role("app", **at)
    finally:
        root.secrets.kv.v2.delete_metadata_and_all_versions("walk/a")
        root.sys.delete_policy("walk-reader")
        root.sys.disable_auth_method("walk-approle")
    refused(exceptions.Forbidden, app.auth.token.lookup_self)


def leases_of_logins():
    root = client()
    root.sys.enable_auth_method("approle", path="walk-leases")
    try:
        approle = root.auth.approle
        at = {"mount_point": "walk-leases"}
        approle.create_or_update_approle("app", token_ttl="10m", **at)
        role_id = approle.read_role_id("app", **at)["data"]["role_id"]
        secret_id = approle.generate_secret_id("app", **at)["data"]["secret_id"]
        tokens = [
            approle.login(role_id, secret_id, use_token=False, **at)["auth"]["client_token"]
            for _ in range(3)
        ]
        leases = root.sys.list_leases("auth/walk-leases/login")["data"]["keys"]
        same(len(leases), 3)
        refused(exceptions.InvalidRequest, root.sys.read_lease, "nothing", says="invalid lease")
        refused(exceptions.InvalidRequest, root.sys.renew_lease, "nothing", says="lease not found")
        lease = root.sys.read_lease(f"auth/walk-leases/login/{leases[0]}")["data"]
        assert 590 <= lease["ttl"] <= 600, lease
        root.sys.revoke_prefix("auth/walk-leases/login")
        wait_until(lambda: not any(client(token).is_authenticated() for token in tokens))
    finally:
        root.sys.disable_auth_method("walk-leases")


def tokens():
    root = client()
    root.sys.create_or_update_policy(
        "walk-parent", 'path "auth/token/create" { capabilities = ["update"] }'
    )
    try:
        made = root.auth.token.create(
            policies=["walk-parent"], ttl="1h", display_name="walk", meta={"a": "b"}
        )["auth"]
        same(sorted(made["policies"]), ["default", "walk-parent"])
        parent = client(made["client_token"])
        seen = parent.auth.token.lookup_self()["data"]
        same(seen["display_name"], "token-walk")
        same(seen["meta"], {"a": "b"})
        same(seen["type"], "service")
        assert seen["expire_time"] is not None and 3590 <= seen["ttl"] <= 3600, seen
        child = parent.auth.token.create(policies=["walk-parent"], ttl="30m")["auth"]
        refused(exceptions.InvalidRequest, parent.auth.token.create, policies=["other"])
        same(root.auth.token.lookup_accessor(made["accessor"])["data"]["display_name"], "token-walk")
        renewed = parent.auth.token.renew_self(increment="30m")
        assert 1790 <= renewed["auth"]["lease_duration"] <= 1800, renewed
        root.auth.token.revoke_accessor(made["accessor"])
        refused(exceptions.Forbidden, parent.auth.token.lookup_self)
        refused(exceptions.Forbidden, client(child["client_token"]).auth.token.lookup_self)

        batch = root.auth.token.create(type="batch", policies=["default"], ttl="1h")["auth"]
        same(batch["token_type"], "batch")
        refused(exceptions.InvalidRequest, client(batch["client_token"]).auth.token.renew_self)

        twice = client(root.auth.token.create(policies=["default"], num_uses=2)["auth"]["client_token"])
        twice.auth.token.lookup_self()
        twice.auth.token.lookup_self()
        refused(exceptions.Forbidden, twice.auth.token.lookup_self)

        same(
            root.sys.get_capabilities(paths=["secret/data/x"], token=batch["client_token"])["data"][
                "secret/data/x"
            ],
            ["deny"],
        )
    finally:
        root.sys.delete_policy("walk-parent")


def transit():
    root = client()
    root.sys.enable_secrets_engine("transit", path="walk-transit")
    try:
        transit = root.secrets.transit
        at = {"mount_point": "walk-transit"}
        text, context = "dGV4dA==", "Y29udGV4dA=="
        transit.create_key("plain", exportable=True, allow_plaintext_backup=True, **at)
        sealed = transit.encrypt_data("plain", plaintext=text, **at)["data"]["ciphertext"]
        assert sealed.startswith("vault:v1:")
        for _ in range(2):
            transit.rotate_key("plain", **at)
        same(transit.decrypt_data("plain", ciphertext=sealed, **at)["data"]["plaintext"], text)
        rewrapped = transit.rewrap_data("plain", ciphertext=sealed, **at)["data"]["ciphertext"]
        assert rewrapped.startswith("vault:v3:")
        batch = transit.decrypt_data(
            "plain", batch_input=[{"ciphertext": sealed}, {"ciphertext": rewrapped}], **at
        )
        same([item["plaintext"] for item in batch["data"]["batch_results"]], [text, text])
        transit.update_key_configuration(
            "plain", min_decryption_version=2, min_encryption_version=3, **at
        )
        refused(
            exceptions.InvalidRequest,
            transit.decrypt_data,
            "plain",
            ciphertext=sealed,
            says="too old",
            **at,
        )
        transit.trim_key("plain", min_version=2, **at)
        backup = transit.backup_key("plain", **at)["data"]["backup"]
        transit.restore_key(backup, name="again", **at)
        same(transit.decrypt_data("again", ciphertext=rewrapped, **at)["data"]["plaintext"], text)
        exported = [
            transit.export_key(name, key_type="encryption-key", **at)["data"]["keys"]
            for name in ("plain", "again")
        ]
        same(exported[0], exported[1])

        transit.create_key("derived", derived=True, convergent_encryption=True, **at)
        converging = [
            transit.encrypt_data("derived", plaintext=text, context=context, **at) for _ in range(2)
        ]
        same(converging[0]["data"], converging[1]["data"])

        for key_type in ("ed25519", "ecdsa-p256", "rsa-2048"):
            transit.create_key(key_type, key_type=key_type, **at)
            signed = transit.sign_data(key_type, hash_input=text, **at)["data"]["signature"]
            for said, want in ((text, True), (context, False)):
                verified = transit.verify_signed_data(
                    key_type, hash_input=said, signature=signed, **at
                )
                same(verified["data"]["valid"], want)
        hmac = transit.generate_hmac("plain", hash_input=text, algorithm="sha2-512", **at)
        verified = transit.verify_signed_data(
            "plain", hash_input=text, hmac=hmac["data"]["hmac"], hash_algorithm="sha2-512", **at
        )
        same(verified["data"]["valid"], True)
        same(len(transit.hash_data(text, algorithm="sha2-256", **at)["data"]["sum"]), 64)
        random = transit.generate_random_bytes(n_bytes=8, output_format="hex", **at)
        same(len(random["data"]["random_bytes"]), 16)
        made = transit.generate_data_key("plain", key_type="plaintext", **at)["data"]
        opened = transit.decrypt_data("plain", ciphertext=made["ciphertext"], **at)
        same(opened["data"]["plaintext"], made["plaintext"])
        same(
            transit.list_keys(**at)["data"]["keys"],
            ["again", "derived", "ecdsa-p256", "ed25519", "plain", "rsa-2048"],
        )
        refused(exceptions.InvalidRequest, transit.delete_key, "plain", says="not allowed", **at)
        transit.update_key_configuration("plain", deletion_allowed=True, **at)
        transit.delete_key("plain", **at)
        refused(exceptions.InvalidPath, transit.read_key, "plain", **at)
    finally:
        root.sys.disable_secrets_engine("walk-transit")


def the_server_itself():
    root = client()
    same(root.sys.is_initialized(), True)
    same(root.sys.is_sealed(), False)
    same(root.sys.read_health_status(method="GET")["standby"], False)
    assert "secret/" in root.sys.list_mounted_secrets_engines()["data"]
    assert "token/" in root.sys.list_auth_methods()["data"]
    assert "default" in root.sys.list_policies()["data"]["policies"]
    assert root.read("secret/data/nothing") is None
    refused(exceptions.Forbidden, client("s.nothing").read, "secret/data/nothing")


def wait_until(holds, limit=30):
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)


def main():
    walks = [
        the_server_itself,
        kv_version_2,
        kv_version_1,
        approle_and_wrapping,
        leases_of_logins,
        tokens,
        transit,
    ]
    failed = 0
    for walk in walks:
        try:
            walk()
            print(f"ok      {walk.__name__}")
        except Exception:  # noqa: BLE001 - whatever it is, the other walks go on
            failed += 1
            print(f"FAILED  {walk.__name__}\n{traceback.format_exc()}")
    sys.exit(1 if failed else 0)


main()
