#!/bin/bash
# Installs the Debian packages that the build needs; with "test" also those of the tests, with "count" what counts
# instructions. Silent and quick when all are there. Without root or sudo it prints what to ask for and exits 1.
set -u

# One need a word: packages that satisfy it, separated by bars; the first is the one installed.
needs=(gcc libc6-dev make 'pkg-config|pkgconf' libjansson-dev libpcre2-dev libxxhash-dev libreadline-dev
       'libcurl4-openssl-dev|libcurl4-gnutls-dev' libzip-dev zlib1g-dev libssl-dev libmicrohttpd-dev
       ca-certificates)
if [ "${1:-}" = test ]; then
    clang=$(readlink -f "$(command -v clang)")
    version=${clang#*/llvm-}
    needs+=(libcmocka-dev clang clang-format "libclang-rt-dev|libclang-rt-${version%%/*}-dev"
            libsimde-dev python3 python3-venv curl openssl chromium 'gnuplot-nox|gnuplot-qt|gnuplot-x11')
fi

[ "${1:-}" = count ] && needs+=(valgrind)

# The packages of unmet needs, one a line.
missing() {
    local installed need package met
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' ${needs[*]//|/ } 2>/dev/null)
    for need in "${needs[@]}"; do
        met=
        for package in ${need//|/ }; do
            [[ $'\n'$installed$'\n' == *$'\n'"$package installed"$'\n'* ]] && met=yes
        done
        [ "$met" ] || echo "${need%%|*}"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        sudo "$@" # asks for the password: only reached on a terminal
    fi
}

can_become_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || [ -t 0 -a -t 2 ]
}

# Package lists may be absent (a fresh container) or old (the mirror has moved on).
all_offered() {
    local package
    for package in "$@"; do
        [ -n "$(apt-cache show "$package" 2>/dev/null)" ] || return 1
    done
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
}

if ! command -v dpkg-query >/dev/null; then
    # Not Debian: whoever runs this brings the libraries; the compiler will name what lacks.
    pkg-config --exists jansson libpcre2-8 libxxhash readline libcurl libzip zlib libcrypto libmicrohttpd 2>/dev/null && exit 0
    echo "This is no Debian system. Install what corresponds to: ${needs[*]%%|*}" >&2
    exit 1
fi

mapfile -t packages < <(missing)
[ ${#packages[@]} = 0 ] && exit 0

if ! can_become_root; then
    {
        echo "These packages are needed, and there is neither root nor sudo to install them:"
        printf '    %s\n' "${packages[@]}"
        echo "Ask for:"
        echo "    apt-get update && apt-get install --no-install-recommends ${packages[*]}"
    } >&2
    exit 1
fi

echo "installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { all_offered "${packages[@]}" && install "${packages[@]}"; } >"$log" 2>&1; then
    if ! { as_root apt-get -qq update && install "${packages[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "cannot install ${packages[*]}: see apt-get's words above" >&2
        exit 1
    fi
fi
