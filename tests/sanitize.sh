#!/usr/bin/env bash
# Runs the tests of the kernels, where all of the workspace's own unsafe code is, under AddressSanitizer: on AVX-512, AVX2
# and portable code as far as this CPU has them. Builds into a folder of its own, since everything is compiled
# otherwise; takes more arguments of `cargo test`.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
# A stable compiler takes sanitizers only with the variable.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/sanitized
# With a target named, build scripts and macros are built without a sanitizer.
cargo test --locked --package peerwren-kernels --target "$target" --tests "$@"
