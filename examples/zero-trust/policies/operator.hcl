# What people who run the platform may do with `holdfast login`: its secrets and its database
# users, and looking at everything. Changing how the platform is set up goes through its files and
# `holdfast apply`.

path "secret/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "kv/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "database/creds/*" {
  capabilities = ["read"]
}

path "database/roles" {
  capabilities = ["list"]
}

path "database/roles/*" {
  capabilities = ["read"]
}

# A service that cannot attest itself gets a secret_id from an operator, wrapped.
path "auth/approle/role/+/role-id" {
  capabilities = ["read"]
}

path "auth/approle/role/+/secret-id" {
  capabilities = ["create", "update"]

  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "10m"
}

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read", "sudo"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/*" {
  capabilities = ["read"]
}

# Why a request was refused: `holdfast why`.
path "sys/internal/explain" {
  capabilities = ["list", "sudo"]
}

path "sys/internal/explain/*" {
  capabilities = ["read", "sudo"]
}

# Ending what was handed out: a leaked credential cannot wait for an apply.
path "sys/leases/lookup" {
  capabilities = ["create", "update"]
}

path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/revoke" {
  capabilities = ["create", "update"]
}

path "sys/leases/revoke/*" {
  capabilities = ["create", "update"]
}

path "sys/leases/revoke-prefix/*" {
  capabilities = ["create", "update", "sudo"]
}
