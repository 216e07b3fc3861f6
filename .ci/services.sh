# To be sourced: strace, espeak-ng, chromium, and a PostgreSQL server for the tests, on loopback, in a folder that goes when the shell ends.
# Debian's are installed where none is there; who may not install goes on without, and those tests are skipped.

programs() { find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The server refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else (cd / && "$@"); fi
}

install() {
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# In memory where a gigabyte of it is free: nothing here is to outlive the tests.
place_for_tests() {
    local free
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if [ -w /dev/shm ] && [ "${free:-0}" -gt 1000000 ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

start_postgres() {
    local bin port
    bin=$(programs)
    POSTGRES_FOLDER=$(mktemp -d -p "$(place_for_tests)")
    trap stop_postgres EXIT
    if [ "$(id -u)" = 0 ]; then chown postgres "$POSTGRES_FOLDER"; fi
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    as_server "$bin/initdb" -D "$POSTGRES_FOLDER/data" -U cl_ast -A trust -E UTF8 --locale=C --no-sync >/dev/null
    as_server "$bin/pg_ctl" -D "$POSTGRES_FOLDER/data" -l "$POSTGRES_FOLDER/log" -w start >/dev/null \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c shared_buffers=32MB -c max_wal_size=128MB"
    export CL_AST_POSTGRES="postgresql://cl_ast@127.0.0.1:$port/postgres"
}

stop_postgres() {
    as_server "$(programs)/pg_ctl" -D "$POSTGRES_FOLDER/data" -m immediate stop >/dev/null || true
    rm -rf "$POSTGRES_FOLDER"
}

if [ -z "${CL_AST_POSTGRES:-}" ]; then
    if [ -n "$(programs)" ] || install postgresql; then
        start_postgres
    else
        echo ".ci: no PostgreSQL here, and none can be installed: the registry is tested on SQLite only" >&2
    fi
fi

if ! command -v strace >/dev/null && ! install strace; then
    echo ".ci: no strace here, and none can be installed: no power is lost in the tests" >&2
fi

if ! command -v espeak-ng >/dev/null && ! install espeak-ng; then
    echo ".ci: no espeak-ng here, and none can be installed: the speech that ast-mini learned from is not made" >&2
fi

if ! command -v chromium >/dev/null && ! install chromium; then
    echo ".ci: no chromium here, and none can be installed: no browser looks at the report" >&2
fi
