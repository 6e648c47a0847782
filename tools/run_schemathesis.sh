#!/bin/bash
# Serves a model and lets schemathesis ask what /openapi.json describes, rightly and wrongly.
#   B=build MODEL=smollm2 tools/run_schemathesis.sh SECONDS
# Prints "fuzz openapi ok ..." or "fuzz openapi FAILED ..."; skipped where it is not installed (tools/install_clients.sh).
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
seconds=${1:?give the seconds}
tool=$PWD/build/clients/schemathesis/bin/schemathesis
config=$PWD/tests/clients/schemathesis.toml
log=$B/logs/fuzz-openapi.log
mkdir -p "$B/logs"

if [ ! -x "$tool" ]; then
    echo 'fuzz openapi skipped: schemathesis is not installed'
    exit 0
fi

# Short answers: many requests, not long ones.
"$B/akvifer" serve -m "${MODEL:-smollm2}" --port 0 -c 96 -n 4 --log-file "$B/logs/fuzz-openapi-server.log" 2>"$log.server" &
server=$!
trap 'kill $server 2>/dev/null' EXIT
for _ in $(seq 600); do
    url=$(sed -n 's/^listening *//p' "$log.server")
    [ "$url" ] && break
    kill -0 $server 2>/dev/null || break
    sleep 0.1
done
if [ -z "$url" ]; then
    echo 'fuzz openapi FAILED: the server did not start'
    sed 's/^/    | /' "$log.server"
    exit 1
fi

# Not all that fits a description makes sense (min_tokens above max_tokens): positive_data_acceptance is left out.
# It remembers failures in a folder of the place where it runs.
(cd build/clients && "$tool" --config-file "$config" run "$url/openapi.json" --phases coverage,fuzzing --max-time "$seconds" \
    --max-examples 1000000 --continue-on-failure --request-timeout 60 --exclude-checks positive_data_acceptance \
    --generation-database none) >"$log" 2>&1
status=$?
if [ $status = 0 ] && curl -sf "$url/health" >/dev/null; then
    echo "fuzz openapi ok $(sed -n 's/^ *\([0-9]*\) generated, .*/\1/p' "$log") requests in $seconds s"
    exit 0
fi
echo "fuzz openapi FAILED (status $status)"
tail -n 80 "$log" | sed 's/^/    | /'
exit 1
