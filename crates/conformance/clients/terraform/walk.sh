#!/bin/sh
# A plan, an apply, a plan that finds nothing to do, a change, and a destroy, with the provider
# that TF_CLI_CONFIG_FILE names, against the server at VAULT_ADDR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/main.tf" "$here/issuer.pem" "$work"
cd "$work"
export CHECKPOINT_DISABLE=1
terraform plan -input=false -no-color -parallelism=1 -out=first >/dev/null
terraform apply -input=false -no-color -parallelism=1 first
terraform plan -input=false -no-color -parallelism=1 -detailed-exitcode
sed -i 's/"first"/"second"/; s/token_ttl             = 600/token_ttl = 900/' main.tf
terraform apply -input=false -no-color -parallelism=1 -auto-approve
terraform destroy -input=false -no-color -parallelism=1 -auto-approve
