#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own, which it finds in LICTOR_TEST_POSTGRES and which is gone afterwards;
# and one that it may crash.
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
if [[ $EUID -eq 0 ]]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
fi
as() {
    if [[ $EUID -eq 0 ]]; then
        setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"
    else
        "$@"
    fi
}

home="$(mktemp -d /tmp/lictor-postgres.XXXXXX)"
cleanup() {
    for data in "$home"/*/data; do
        as "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1 || true
    done
    rm -rf "$home"
}
trap cleanup EXIT
[[ $EUID -eq 0 ]] && chown "$user" "$home"

# Starts one. Nothing listens on the network; what is acknowledged is on the disk, as where a server is run.
start() {
    local folder="$home/$1"
    as mkdir "$folder"
    (
        cd "$folder"
        as "$bin/initdb" -D data -U lictor --auth=trust --encoding=UTF8 --locale=C
        echo "listen_addresses = ''
              unix_socket_directories = '$folder'
              max_connections = 400" >>data/postgresql.conf
        as "$bin/pg_ctl" -D data -l data/log -w -t 60 start
    ) >"$home/log" 2>&1 || {
        cat "$home/log" "$folder/data/log" >&2
        exit 1
    }
}
start shared
start crashing
cat >"$home/crash" <<END
#!/usr/bin/env bash
$(declare -f as)
user=${user:-}
cd "$home/crashing"
if [[ "\$1" == stop ]]; then
    as "$bin/pg_ctl" -D data -m immediate -w stop >/dev/null
    exit
fi
# Its last processes may take a moment to let go of what they share.
for _ in {1..50}; do
    as "$bin/pg_ctl" -D data -l data/log -w -t 60 start >/dev/null && exit
    sleep 0.1
done
exit 1
END
chmod +x "$home/crash"

export LICTOR_TEST_POSTGRES="postgres://lictor@localhost/postgres?host=$home/shared"
# One that tests may crash, by a program that says how: `stop` or `start`.
export LICTOR_TEST_POSTGRES_CRASHING="postgres://lictor@localhost/postgres?host=$home/crashing"
export LICTOR_TEST_POSTGRES_CRASH="$home/crash"
"$@"
