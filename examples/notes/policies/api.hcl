# What the service's files are made of. Nothing else.

path "kv/data/api" {
  capabilities = ["read"]
}

path "database/creds/notes" {
  capabilities = ["read"]
}
