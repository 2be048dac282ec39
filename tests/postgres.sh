#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own, which it finds in LICTOR_TEST_POSTGRES and which is gone afterwards.
# Installs PostgreSQL where it is missing and it may; where LICTOR_TEST_POSTGRES is set already, that one is used.
set -euo pipefail

install="apt-get install -y --no-install-recommends postgresql"

if [[ $# -eq 0 ]]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 2
fi
if [[ -n "${LICTOR_TEST_POSTGRES:-}" ]]; then
    exec "$@"
fi

# The folder of the programs: in PATH, or where Debian keeps them, the latest version first.
programs() {
    local initdb
    initdb="$(command -v initdb || ls -1 /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -rV | head -1)"
    [[ -n "$initdb" ]] && dirname "$(readlink -f "$initdb")"
}

if ! bin="$(programs)" && [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    # Its own cluster is not wanted, only its programs.
    (apt-get update && DEBIAN_FRONTEND=noninteractive $install) >&2
    bin="$(programs)" || true
fi
if [[ -z "${bin:-}" ]]; then
    echo "PostgreSQL is needed for the tests and is neither in PATH nor in /usr/lib/postgresql. This installs it:" >&2
    echo "    sudo $install" >&2
    exit 1
fi

# It refuses to be run by root.
as() { "$@"; }
if [[ $EUID -eq 0 ]]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    as() { setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"; }
fi

home="$(mktemp -d /tmp/lictor-postgres.XXXXXX)"
cleanup() {
    as "$bin/pg_ctl" -D "$home/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$home"
}
trap cleanup EXIT
[[ $EUID -eq 0 ]] && chown "$user" "$home"
cd "$home"
as "$bin/initdb" -D "$home/data" -U lictor --auth=trust --encoding=UTF8 --locale=C >"$home/log" 2>&1 || {
    cat "$home/log" >&2
    exit 1
}
# Nothing listens on the network. Settings are those that a server is run with: what is acknowledged is on the disk.
as "$bin/pg_ctl" -D "$home/data" -l "$home/data/log" -w -t 60 start \
    -o "-c listen_addresses= -c unix_socket_directories=$home -c max_connections=400" >"$home/log" 2>&1 || {
    cat "$home/log" "$home/data/log" >&2
    exit 1
}
cd - >/dev/null

LICTOR_TEST_POSTGRES="postgres://lictor@localhost/postgres?host=$home" "$@"
