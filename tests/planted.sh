#!/usr/bin/env bash
# Shows that the seeds find bugs: plants each of tests/planted/*.patch into a copy of the tree, one at a time, runs the
# seeds there and prints the first one that fails and why. Exits with 1 if a bug is not found, or if the tree itself
# fails. Reads no input; takes the interval of seeds, 0..200 by default.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seeds=${1:-0..200}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export PEERWREN_SEED=$seeds RUST_BACKTRACE=0
# Always the same folder: what does not change is not built again.
copy=$CARGO_TARGET_DIR/planted
log=$CARGO_TARGET_DIR/planted.log

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

mkdir -p "$copy"
# Files keep their times, so that those that are the same are not built again.
find . -path ./.git -prune -o -path ./target -prune -o -type f -print | while read -r file; do
    cmp -s "$file" "$copy/$file" || install -Dp -m "$(stat -c %a "$file")" "$file" "$copy/$file"
done

run_seeds() {
    (cd "$copy" && cargo test --locked --workspace --lib machine::tests::faults::every) >"$log" 2>&1
}

# The last patch may still be there if this was interrupted: the copy above has undone it.
run_seeds || fail "seeds fail without a planted bug: see $log"
printf 'no bug: seeds %s pass\n' "$seeds"
missed=0
for patch in tests/planted/*.patch; do
    name=$(basename "$patch" .patch)
    patch --quiet --directory "$copy" --strip 1 <"$patch" || fail "$patch does not apply to this tree"
    began=$SECONDS
    if run_seeds; then
        printf '%s: NOT FOUND by seeds %s\n' "$name" "$seeds"
        missed=1
    else
        found=$(grep -m 1 '^seed [0-9]* fails' "$log") || fail "$name: the tests do not build or run: see $log"
        printf '%s: %s (%d s)\n' "$name" "$found" $((SECONDS - began))
    fi
    patch --quiet --directory "$copy" --strip 1 --reverse <"$patch"
done
exit "$missed"
