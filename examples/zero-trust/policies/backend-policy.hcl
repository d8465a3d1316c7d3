# What the backend may do: its GitHub tokens, and database users of its own role. Nothing else.

path "secret/data/github/*" {
  capabilities = ["create", "read", "update", "delete"]
}

path "secret/metadata/github/*" {
  capabilities = ["read", "list", "delete"]
}

path "database/creds/backend-role" {
  capabilities = ["read"]
}
