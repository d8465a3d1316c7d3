# What a team keeps in Terraform of its secrets server. Its calls are recorded in
# ../../exchanges/terraform.jsonl: a plan, an apply, a plan that finds nothing to do, a destroy.

terraform {
  required_providers {
    vault = { source = "hashicorp/vault" }
  }
}

provider "vault" {}

# Secrets.

resource "vault_mount" "kv" {
  path        = "tf-kv"
  type        = "kv"
  options     = { version = "2" }
  description = "application secrets"
}

resource "vault_kv_secret_backend_v2" "kv" {
  mount                = vault_mount.kv.path
  max_versions         = 5
  delete_version_after = 12600
}

resource "vault_kv_secret_v2" "app" {
  mount     = vault_mount.kv.path
  name      = "app/database"
  data_json = jsonencode({ user = "app", password = "first" })
  custom_metadata {
    max_versions = 3
    data         = { owner = "team-a" }
  }
}

data "vault_kv_secret_v2" "app" {
  mount      = vault_mount.kv.path
  name       = vault_kv_secret_v2.app.name
  depends_on = [vault_kv_secret_v2.app]
}

resource "vault_mount" "plain" {
  path                      = "tf-plain"
  type                      = "kv"
  options                   = { version = "1" }
  default_lease_ttl_seconds = 3600
  max_lease_ttl_seconds     = 7200
}

resource "vault_generic_secret" "plain" {
  path      = "${vault_mount.plain.path}/app"
  data_json = jsonencode({ key = "value" })
}

# Policies and logins.

data "vault_policy_document" "app" {
  rule {
    path         = "tf-kv/data/app/*"
    capabilities = ["read"]
    description  = "its own secrets"
  }
}

resource "vault_policy" "app" {
  name   = "tf-app"
  policy = data.vault_policy_document.app.hcl
}

resource "vault_password_policy" "long" {
  name   = "tf-long"
  policy = <<-HCL
    length = 24
    rule "charset" {
      charset   = "abcdefghijklmnopqrstuvwxyz"
      min-chars = 2
    }
    rule "charset" {
      charset   = "0123456789"
      min-chars = 2
    }
  HCL
}

resource "vault_auth_backend" "approle" {
  type = "approle"
  path = "tf-approle"
  tune {
    default_lease_ttl = "1h"
    max_lease_ttl     = "2h"
  }
}

resource "vault_approle_auth_backend_role" "app" {
  backend               = vault_auth_backend.approle.path
  role_name             = "app"
  token_policies        = [vault_policy.app.name]
  token_ttl             = 600
  token_max_ttl         = 1200
  secret_id_bound_cidrs = ["127.0.0.0/8"]
}

resource "vault_approle_auth_backend_role_secret_id" "app" {
  backend   = vault_auth_backend.approle.path
  role_name = vault_approle_auth_backend_role.app.role_name
  metadata  = jsonencode({ host = "one" })
}

resource "vault_approle_auth_backend_login" "app" {
  backend   = vault_auth_backend.approle.path
  role_id   = vault_approle_auth_backend_role.app.role_id
  secret_id = vault_approle_auth_backend_role_secret_id.app.secret_id
}

resource "vault_auth_backend" "userpass" {
  type = "userpass"
  path = "tf-userpass"
}

resource "vault_generic_endpoint" "user" {
  path                 = "auth/${vault_auth_backend.userpass.path}/users/mina"
  ignore_absent_fields = true
  data_json            = jsonencode({ password = "changed at first login", token_policies = ["tf-app"] })
}

resource "vault_jwt_auth_backend" "jwt" {
  path                   = "tf-jwt"
  jwt_validation_pubkeys = [trimspace(file("${path.module}/issuer.pem"))]
  bound_issuer           = "https://issuer.example"
}

resource "vault_jwt_auth_backend_role" "ci" {
  backend         = vault_jwt_auth_backend.jwt.path
  role_name       = "ci"
  role_type       = "jwt"
  token_policies  = [vault_policy.app.name]
  bound_audiences = ["vault"]
  bound_claims    = { project = "holdfast" }
  user_claim      = "sub"
}

resource "vault_token_auth_backend_role" "batch" {
  role_name        = "tf-batch"
  allowed_policies = [vault_policy.app.name]
  orphan           = true
  token_period     = 3600
}

resource "vault_token" "job" {
  role_name = vault_token_auth_backend_role.batch.role_name
  policies  = [vault_policy.app.name]
  renewable = true
  ttl       = "30m"
}

# Identity.

resource "vault_identity_entity" "mina" {
  name     = "tf-mina"
  policies = [vault_policy.app.name]
  metadata = { team = "a" }
}

resource "vault_identity_entity_alias" "mina" {
  name           = "mina"
  mount_accessor = vault_auth_backend.userpass.accessor
  canonical_id   = vault_identity_entity.mina.id
}

resource "vault_identity_group" "team" {
  name              = "tf-team"
  type              = "internal"
  policies          = [vault_policy.app.name]
  member_entity_ids = [vault_identity_entity.mina.id]
}

resource "vault_identity_oidc_key" "key" {
  name      = "tf-key"
  algorithm = "ES256"
}

resource "vault_identity_oidc_role" "role" {
  name = "tf-role"
  key  = vault_identity_oidc_key.key.name
}

resource "vault_identity_oidc_key_allowed_client_id" "role" {
  key_name          = vault_identity_oidc_key.key.name
  allowed_client_id = vault_identity_oidc_role.role.client_id
}

# Engines.

resource "vault_mount" "transit" {
  path = "tf-transit"
  type = "transit"
}

resource "vault_transit_secret_backend_key" "app" {
  backend          = vault_mount.transit.path
  name             = "app"
  type             = "aes256-gcm96"
  deletion_allowed = true
}

data "vault_transit_encrypt" "greeting" {
  backend   = vault_mount.transit.path
  key       = vault_transit_secret_backend_key.app.name
  plaintext = "hello"
}

resource "vault_mount" "pki" {
  path                      = "tf-pki"
  type                      = "pki"
  default_lease_ttl_seconds = 86400
  max_lease_ttl_seconds     = 864000
}

resource "vault_pki_secret_backend_root_cert" "root" {
  backend     = vault_mount.pki.path
  type        = "internal"
  common_name = "Example Root"
  ttl         = "240h"
  key_type    = "ec"
  key_bits    = 256
}

resource "vault_pki_secret_backend_config_urls" "urls" {
  backend                 = vault_mount.pki.path
  issuing_certificates    = ["https://vault.example/v1/tf-pki/ca"]
  crl_distribution_points = ["https://vault.example/v1/tf-pki/crl"]
}

resource "vault_pki_secret_backend_role" "web" {
  backend          = vault_mount.pki.path
  name             = "web"
  allowed_domains  = ["example.com"]
  allow_subdomains = true
  key_type         = "ec"
  key_bits         = 256
  max_ttl          = 7200
}

resource "vault_pki_secret_backend_cert" "web" {
  backend     = vault_mount.pki.path
  name        = vault_pki_secret_backend_role.web.name
  common_name = "www.example.com"
  ttl         = "1h"
  depends_on  = [vault_pki_secret_backend_root_cert.root]
}

resource "vault_mount" "database" {
  path = "tf-database"
  type = "database"
}

resource "vault_database_secret_backend_connection" "app" {
  backend           = vault_mount.database.path
  name              = "app"
  allowed_roles     = ["app"]
  verify_connection = false
  postgresql {
    connection_url = "postgresql://{{username}}:{{password}}@127.0.0.1:1/app"
    username       = "vault"
    password       = "not tried"
  }
}

resource "vault_database_secret_backend_role" "app" {
  backend             = vault_mount.database.path
  name                = "app"
  db_name             = vault_database_secret_backend_connection.app.name
  creation_statements = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"]
  default_ttl         = 3600
  max_ttl             = 7200
}

# The server itself.

resource "vault_quota_rate_limit" "kv" {
  name = "tf-kv"
  path = "${vault_mount.kv.path}/"
  rate = 1000
}

resource "vault_audit_request_header" "request_id" {
  name = "X-Request-Id"
  hmac = false
}
