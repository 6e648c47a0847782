#!/bin/bash
# Builds the fuzz targets (clang, address and undefined-behaviour sanitizers) under $B/fuzz and runs each.
#   B=build tools/run_fuzz.sh SECONDS [NAME ...]        NAME stands for tests/fuzz/fuzz_NAME.c; default: all
# What was learnt stays in $B/corpus/NAME. tests/fuzz/seeds_NAME.c, if there is one, writes the first inputs
# there; tests/fuzz/NAME.dict holds words worth trying. Prints "fuzz NAME ok ..." or "fuzz NAME FAILED ...".
set -u
B=${B:-build}
seconds=${1:?give the seconds for each target}
shift
cd "$(dirname "$0")/.." || exit 1
[ $# = 0 ] && mapfile -t names < <(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')
[ $# != 0 ] && names=("$@")

build() {
    local name targets=()
    for name in "${names[@]}"; do
        targets+=("$B/fuzz/fuzz_$name")
        [ -f "tests/fuzz/seeds_$name.c" ] && targets+=("$B/fuzz/seeds_$name")
    done
    env -u MAKEFLAGS -u MAKELEVEL make -s -j2 -f tools/fuzz.mk B="$B/fuzz" CC=clang SAN= WARN=-w \
        SANFLAG='-O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all' "${targets[@]}" >/dev/null
}

run() { # name
    local name=$1 corpus=$B/corpus/$1 log=$B/logs/fuzz-$1.log options=()
    mkdir -p "$corpus" "$B/logs"
    [ -x "$B/fuzz/seeds_$name" ] && { "$B/fuzz/seeds_$name" "$corpus" || return 1; }
    [ -f "tests/fuzz/$name.dict" ] && options+=("-dict=tests/fuzz/$name.dict")
    if "$B/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=1 \
        -print_final_stats=1 -artifact_prefix="$B/fuzz/crash-$name-" "${options[@]}" "$corpus" >"$log" 2>&1; then
        echo "fuzz $name ok $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
        return 0
    fi
    echo "fuzz $name FAILED (to repeat: $B/fuzz/fuzz_$name FILE)"
    tail -n 60 "$log" | sed 's/^/    | /'
    return 1
}

if ! build; then
    printf 'fuzz %s FAILED to build\n' "${names[@]}"
    exit 1
fi
status=0
for name in "${names[@]}"; do
    run "$name" || status=1
done
exit $status
