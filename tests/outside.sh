#!/usr/bin/env bash
# Builds a program that depends on peerwren from outside of the workspace (tests/outside) and tries its workers: they
# are the program itself where it calls worker_main, else `peerwren` beside it, else there are none and it says
# what to do. Reads no input; builds into CARGO_TARGET_DIR, or the repository's target folder.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-$PWD/target}
# What the workspace was built with, so that nothing is built twice.
cp Cargo.lock tests/outside/Cargo.lock
cargo build --release --manifest-path tests/outside/Cargo.toml --target-dir "$target"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$target/release/outside" "$folder"
expected='squares [0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 49.0, 64.0, 81.0]'

found=$("$folder/outside" own)
[[ $found == "$expected" ]] || fail "own workers: expected $expected, found $found"

PATH=/usr/bin:/bin "$folder/outside" without >"$folder/out" 2>&1 && fail "it ran without workers"
grep -q 'worker_main' "$folder/out" || fail "without workers it does not say what to do: $(<"$folder/out")"

cp "$target/release/peerwren" "$folder"
"$folder/outside" without >"$folder/out" 2>&1 && fail "peerwren ran a kernel that it does not have"
grep -q 'square_entries' "$folder/out" || fail "the kernel that is missing is not named: $(<"$folder/out")"
printf 'a program outside of the workspace: its own workers ran its kernel; peerwren is refused by name\n'
