#!/bin/bash
# Installs the Python clients of the tests, each in an environment of its own: build/clients/NAME/bin/python.
#   tools/install_clients.sh NAME ...      NAME stands for tests/clients/NAME.txt, packages of PyPI with versions
# Silent and quick when all is there. What cannot be installed is told, and its tests skip themselves.
set -u
cd "$(dirname "$0")/.." || exit 1
python=/usr/bin/python3
[ -x $python ] || python=python3

install() { # list folder
    rm -rf "$2"
    "$python" -m venv "$2" && "$2/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check -r "$1" &&
        cp "$1" "$2/installed.txt"
}

for name in "$@"; do
    list=tests/clients/$name.txt folder=build/clients/$name
    cmp -s "$list" "$folder/installed.txt" && continue
    echo "installing the $name client of the tests from PyPI"
    mkdir -p build/clients
    if ! install "$list" "$folder" >"$folder.log" 2>&1; then
        rm -rf "$folder"
        sed 's/^/    | /' "$folder.log" | tail -n 5 >&2
        echo "cannot install the $name client (is there a network?): the tests that need it are skipped" >&2
    fi
done
