#!/bin/sh
# Installs the Debian or Ubuntu packages that Holdfast needs and that are missing, and nothing else.
# Usage: scripts/install.sh run|test
#
#   run   what `make up` needs: a C compiler for two crates, PostgreSQL 15 or later
#   test  the same, and what the tests drive and watch: Python, OpenSSL and its headers, strace,
#         iproute2, patchelf
#
# At a terminal it shows the list and asks first. Without one it goes on.
set -eu

case "${1:-run}" in
run) wanted='gcc libc6-dev make ca-certificates postgresql postgresql-client' ;;
test) wanted='gcc libc6-dev make ca-certificates postgresql postgresql-client python3 python3-venv openssl libssl-dev pkg-config strace iproute2 procps util-linux patchelf' ;;
*)
    echo "usage: $0 run|test" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "This is neither Debian nor Ubuntu. Install by hand, then run make again: $wanted" >&2
    exit 1
fi

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Any PostgreSQL server from 15 on will do, whatever package it came from.
postgres_major() {
    for binary in /usr/lib/postgresql/*/bin/postgres; do
        [ -x "$binary" ] && "$binary" --version | sed 's/.* \([0-9]*\).*/\1/'
    done | sort -n | tail -n 1
}

missing=
for package in $wanted; do
    if [ "$package" = postgresql ]; then
        major=$(postgres_major)
        [ "${major:-0}" -ge 15 ] && continue
    fi
    if [ "$package" = postgresql-client ] && command -v psql >/dev/null; then
        continue
    fi
    installed "$package" || missing="$missing $package"
done

if ! command -v cargo >/dev/null; then
    echo "Rust is missing. Install it from https://rustup.rs (1.95 or later), then run make again." >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    echo "Missing:$missing" >&2
    echo "Neither root nor sudo: have an administrator install them, then run make again." >&2
    exit 1
fi

echo "Holdfast needs these packages, from your distribution:$missing"
case "$missing " in
*' postgresql '*) echo "PostgreSQL comes without its default cluster: nothing will listen on 5432." ;;
esac
if [ -t 0 ] && [ -t 1 ]; then
    printf 'Install them now%s? [Y/n] ' "${sudo:+ with sudo}"
    read -r answer
    case $answer in
    '' | y | Y | yes) ;;
    *) exit 1 ;;
    esac
fi

# The package would make a cluster of its own on 5432 and start it.
case "$missing " in
*' postgresql '*)
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        $sudo mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    ;;
esac
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
