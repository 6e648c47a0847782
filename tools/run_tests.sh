#!/bin/bash
# Checks the include graph, runs test binaries one after the other, then each fuzz target for a few seconds
# (FUZZ_SECONDS=0: none).
#   B=build SAN= tools/run_tests.sh build/tests/unit/test_x ...
# One line a binary; the output is kept in $B/logs and shown when it failed. The last line is
# "N passed, N failed, N skipped", and the exit status is 0 only when none failed.
set -u
B=${B:-build} SAN=${SAN:-}
# Under ThreadSanitizer golden/test_bits takes 650 s, and e2e/test_run 390 s, on two cores that ten processes share.
TEST_SECONDS=${TEST_SECONDS:-$([ "$SAN" = thread ] && echo 2700 || echo 900)}
FUZZ_SECONDS=${FUZZ_SECONDS:-5}
export B SAN
export ASAN_OPTIONS=halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$B/logs"

passed=0 failed=0 skipped=0

count() { grep -c -F "$1" "$2"; }

# Adds cmocka's own counts. A binary that died before its summary has one more failure.
tally() { # log status
    local log=$1 status=$2 ran ok skip bad
    ran=$(count '[ RUN      ]' "$log")
    ok=$(count '[       OK ]' "$log")
    skip=$(awk '/\[  SKIPPED \] [0-9]+ test\(s\)/ { n += $4 } END { print n + 0 }' "$log")
    bad=$((ran - ok - skip))
    [ "$status" != 0 ] && [ "$bad" = 0 ] && bad=1
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    summary="$ok passed"
    [ "$bad" != 0 ] && summary+=", $bad FAILED"
    [ "$skip" != 0 ] && summary+=", $skip skipped"
    return "$((bad != 0))"
}

run_test() { # binary
    local name=${1#"$B"/tests/} log status start
    log=$B/logs/${name//\//-}.log
    start=$EPOCHREALTIME
    timeout -k 5 "$TEST_SECONDS" "$1" >"$log" 2>&1
    status=$?
    [ "$status" = 124 ] && echo "stopped after $TEST_SECONDS s" >>"$log"
    if tally "$log" "$status"; then
        printf '%7.2f s  %-36s %s\n' "$(since "$start")" "$name" "$summary"
    else
        printf '%7.2f s  %-36s %s (status %d)\n' "$(since "$start")" "$name" "$summary" "$status"
        sed 's/^/    | /' "$log"
    fi
}

since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'; }

run_fuzzers() {
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
        'fuzz '*' FAILED'*) failed=$((failed + 1)) ;;
        'fuzz '*' ok '*) passed=$((passed + 1)) ;;
        esac
    done < <(tools/run_fuzz.sh "$FUZZ_SECONDS" 2>&1)
}

check_graph() {
    local log=$B/logs/include-graph.log
    if python3 tools/include_graph.py >"$log" 2>&1; then
        passed=$((passed + 1))
        echo 'include graph ok'
    else
        failed=$((failed + 1))
        echo 'include graph FAILED'
        sed 's/^/    | /' "$log"
    fi
}

check_graph
for binary in "$@"; do
    run_test "$binary"
done
if [ -z "$SAN" ] && [ "$FUZZ_SECONDS" != 0 ] && compgen -G 'tests/fuzz/fuzz_*.c' >/dev/null; then
    run_fuzzers
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
