#!/usr/bin/env bash
# One invocation of a packaged `bootstrap` by another emulator than ours: `cargo lambda watch`.
#
#     tests/lambda_watch.sh PACKAGE [EVENT.json]
#
# PACKAGE is a bootstrap.zip or an executable; EVENT what it is sent ({} when left out). Prints the answer.
# Needs cargo-lambda on PATH (PyPI: pip install cargo-lambda). Only its Lambda APIs are used, so that it builds
# nothing: its events are synchronous and its deadline is not the function's, which is why other tests have a
# service of their own. Status 0 when the answer is JSON; 1 when there is none within 30 s.
set -euo pipefail

package=$(realpath "${1:?name a bootstrap.zip or an executable}")
event=${2:-}
event=$([[ -n $event ]] && cat "$event" || printf '{}')
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v cargo-lambda >/dev/null || { echo "error: cargo-lambda is not on PATH: pip install cargo-lambda" >&2; exit 1; }

folder=$(mktemp -d)
watch='' function=''
finish() {
    for process in $function $watch; do
        kill -KILL "$process" 2>/dev/null || true
    done
    # The shell would tell of each process that was killed.
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

if [[ $(head -c 2 "$package") == PK ]]; then
    python3 -m zipfile -e "$package" "$folder"
else
    cp "$package" "$folder/bootstrap"
fi
chmod +x "$folder/bootstrap"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

cargo-lambda lambda watch --only-lambda-apis --invoke-address 127.0.0.1 --invoke-port "$port" \
    >"$folder/watch.log" 2>&1 &
watch=$!
for _ in {1..100}; do
    # Not a request: one for no function would wait for its answer.
    if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    kill -0 "$watch" 2>/dev/null || { cat "$folder/watch.log" >&2; exit 1; }
    sleep 0.1
done

# What Lambda sets, and nothing else of this environment. `_` is cargo lambda's name for the one function.
env -i PATH=/usr/bin:/bin TMPDIR="$folder" TZ=:UTC LANG=en_US.UTF-8 \
    AWS_LAMBDA_RUNTIME_API="$url/.rt" AWS_LAMBDA_FUNCTION_NAME=_ AWS_LAMBDA_FUNCTION_VERSION=1 \
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=emulated \
    AWS_SECRET_ACCESS_KEY=emulated "$folder/bootstrap" >"$folder/function.log" 2>&1 &
function=$!

status=$(curl -s -m 30 -o "$folder/answer" -w '%{http_code}' -H 'content-type: application/json' \
    --data "$event" "$url/2015-03-31/functions/_/invocations") || true
if [[ $status != 200 && $status != 500 ]] || ! python3 -m json.tool --compact "$folder/answer"; then
    echo "error: status $status, no answer in JSON; its log and cargo lambda's:" >&2
    cat "$folder/answer" "$folder/function.log" "$folder/watch.log" >&2 || true
    exit 1
fi
