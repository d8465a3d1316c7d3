# What people may do with `holdfast login`.

path "kv/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "database/creds/notes" {
  capabilities = ["read"]
}

path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/revoke-prefix/*" {
  capabilities = ["create", "update", "sudo"]
}
