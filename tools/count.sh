#!/bin/bash
# Counts the instructions of a fixed prompt and a fixed answer (smollm2, AVX2 kernels, one thread) with callgrind and
# compares them with bench/COUNTS: time is noise on a shared machine, a count is not. Fails when one grew by more
# than 3 %, and when one fell by as much, as what was recorded would then let it grow again unseen; RECORD=1 writes what
# was counted, for the commit that means it. Another compiler makes other code: nothing is compared, and it says so.
#
# Only what happens inside model_forward and model_logits counts: how often threads look for work depends on the clock.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
CC=${CC:-gcc}
recorded=bench/COUNTS
limit_percent=3
prompt='An aquifer is a layer of rock, sand or gravel under the ground that holds water and lets it flow. Rain that
seeps into the soil fills it slowly, wells and springs draw from it, and what is taken out faster than it comes in
is missing for years, because water moves through such layers by no more than some metres a day.'

compiler="$($CC -dumpfullversion -dumpversion) $($CC -dumpmachine)"

count() { # prompt, tokens to generate
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --toggle-collect=model_forward --toggle-collect=model_logits \
        "$B/akvifer" run -m smollm2 --raw -p "$1" -n "$2" --temp 0 --ignore-eos -t 1 --cpu avx2 -c 256 -q 2>&1 >/dev/null |
        sed -n 's/.*Collected : //p'
}

measure() {
    echo "compiler $compiler"
    echo "prefill $(count "$prompt" 1)"
    echo "decode $(count 'Water' 8)"
}

if ! command -v valgrind >/dev/null; then
    echo "count: valgrind is missing and could not be installed (no root)" >&2
    exit 1
fi
counted=$(measure)
if [ "$(grep -cE '^(prefill|decode) [0-9]{6,}$' <<<"$counted")" != 2 ]; then
    echo "count: valgrind counted nothing:" >&2
    echo "$counted" >&2
    exit 1
fi
if [ -n "${RECORD:-}" ]; then
    {
        sed -n '/^#/p' $recorded
        echo "$counted"
    } >$recorded.new && mv $recorded.new $recorded
    echo "$counted"
    exit
fi
if [ "$(sed -n 's/^compiler //p' $recorded)" != "$compiler" ]; then
    echo "$counted"
    echo "count: not compared: $recorded was counted with $(sed -n 's/^compiler //p' $recorded)"
    exit
fi
awk -v limit=$limit_percent '
    /^#/ || $1 == "compiler" { next }
    NR == FNR { old[$1] = $2; next }
    {
        change = old[$1] > 0 ? 100 * ($2 / old[$1] - 1) : 100
        says = change > limit ? "  too many" : change < -limit ? "  fewer: record it" : ""
        failed += says != ""
        printf "%-8s %14d  %+.2f %%%s\n", $1, $2, change, says
    }
    END {
        if (failed)
            print "count: RECORD=1 make count records the new numbers, in the commit that means them"
        exit failed > 0
    }' $recorded <(echo "$counted")
