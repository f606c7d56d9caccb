# Private PostgreSQL and Redis servers for the scripts that need them; to be sourced.
#
#   install_servers        installs what is missing (Debian and its like)
#   start_servers FOLDER   starts both, sets AUDIT_TEST_POSTGRES_URL and AUDIT_TEST_REDIS_URL
#   stop_servers           stops what start_servers started
#   install_faketime       installs what shifts clocks
#
# The servers' data is thrown away with the folder, so by default they do not wait for the disk.
# `postgres_settings` and `redis_settings`, set before `start_servers`, say otherwise.
postgres_settings=(-c fsync=off)
redis_settings=(--save '')

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian keeps the programs of each major version out of the PATH; the newest one wins.
find_postgres() {
    local folder
    folder=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [ -x "$folder/postgres" ]; then
        echo "$folder"
    elif command -v postgres >/dev/null; then
        dirname "$(command -v postgres)"
    else
        return 1
    fi
}

has_libpq() {
    [ -n "${PQ_LIB_DIR:-}" ] || command -v pg_config >/dev/null || pkg-config --exists libpq 2>/dev/null ||
        compgen -G '/usr/lib/*/libpq.so' >/dev/null
}

missing_packages() {
    find_postgres >/dev/null || echo postgresql
    command -v redis-server >/dev/null || echo redis-server
    command -v cc >/dev/null || echo gcc libc6-dev
    has_libpq || echo libpq-dev
}

# Debian's packages start their servers when they are installed. Ours are private, so this asks
# it not to, and leaves alone what somebody else has asked for.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours='' status=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    { as_root apt-get update -q &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"; } >&2 ||
        status=$?
    [ -z "$ours" ] || as_root rm -f "$policy"
    return "$status"
}

install_servers() {
    local -a packages
    mapfile -t packages < <(missing_packages | tr ' ' '\n')
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "install these by hand, there is no apt-get: ${packages[*]}"
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || die "install these as root: ${packages[*]}"
    say "installing ${packages[*]}"
    install_packages "${packages[@]}"
}

# The library that shifts a process's clock. Without it the suite says so, and shifts none.
install_faketime() {
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null ||
        { command -v apt-get >/dev/null && install_packages faketime; } ||
        say 'libfaketime is missing: no clock is shifted'
}

# PostgreSQL refuses to run as root: sets `server_user`, and `as_server_user`, which is put before
# a command.
choose_server_user() {
    server_user=$(id -un)
    as_server_user=(env LC_ALL=C)
    [ "$(id -u)" = 0 ] || return 0
    server_user=postgres
    id -u "$server_user" >/dev/null 2>&1 || server_user=nobody
    as_server_user+=(setpriv "--reuid=$server_user" "--regid=$(id -g "$server_user")" --clear-groups)
}

# A port that nobody listens on. Another process may take it before our server does: those who
# start one try again with another.
random_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# Waits until a command succeeds, while the process lives.
wait_for() {
    local process=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 "$process" 2>/dev/null || return 1
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}

postgres_is_ready() { [ "$(sed -n 8p "$1/postmaster.pid" | tr -d ' ')" = ready ]; }
redis_is_ready() { [ "$(redis-cli -s "$1" ping)" = PONG ]; }

start_postgres() {
    local folder=$1/postgres bin port
    bin=$(find_postgres) || die "PostgreSQL is not installed"
    choose_server_user
    install -d -m 700 "$folder"
    [ "$(id -u)" != 0 ] || chown "$server_user" "$folder"
    (cd "$folder" && exec "${as_server_user[@]}" "$bin/initdb" --auth=trust --username=postgres \
        --encoding=UTF8 --locale=C --no-sync -D "$folder/data") >"$1/initdb.log" 2>&1 ||
        { cat "$1/initdb.log" >&2; die "initdb failed"; }
    for _ in 1 2 3 4 5; do
        port=$(random_port)
        # `exec` makes the process that we know PostgreSQL itself.
        (cd "$folder" && exec "${as_server_user[@]}" "$bin/postgres" -D "$folder/data" -p "$port" \
            -k "$folder" -c listen_addresses=127.0.0.1 -c max_connections=1000 \
            "${postgres_settings[@]}") \
            </dev/null >"$1/postgres.log" 2>&1 &
        postgres_pid=$!
        if wait_for "$postgres_pid" postgres_is_ready "$folder/data"; then
            export AUDIT_TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres"
            return
        fi
        stop_process INT "$postgres_pid"
    done
    cat "$1/postgres.log" >&2
    die "PostgreSQL does not start"
}

start_redis() {
    local folder=$1/redis port
    install -d -m 700 "$folder"
    for _ in 1 2 3 4 5; do
        port=$(random_port)
        redis-server --port "$port" --bind 127.0.0.1 --unixsocket "$folder/socket" --dir "$folder" \
            --daemonize no "${redis_settings[@]}" </dev/null >"$1/redis.log" 2>&1 &
        redis_pid=$!
        if wait_for "$redis_pid" redis_is_ready "$folder/socket"; then
            export AUDIT_TEST_REDIS_URL="redis://127.0.0.1:$port/"
            return
        fi
        stop_process TERM "$redis_pid"
    done
    cat "$1/redis.log" >&2
    die "Redis does not start"
}

start_servers() {
    # The server's user has to reach the folders in it.
    chmod 711 "$1"
    start_postgres "$1"
    start_redis "$1"
}

# Ends a process that these functions started, and waits until it is gone.
stop_process() {
    local signal=$1 process=$2 deadline=$((SECONDS + 20))
    kill "-$signal" "$process" 2>/dev/null || return 0
    while kill -0 "$process" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            kill -KILL "$process" 2>/dev/null || true
            return 0
        fi
        sleep 0.02
    done
}

stop_servers() {
    [ -z "${postgres_pid:-}" ] || stop_process INT "$postgres_pid"
    [ -z "${redis_pid:-}" ] || stop_process TERM "$redis_pid"
}
