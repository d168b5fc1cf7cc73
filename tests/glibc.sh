#!/usr/bin/env bash
# Checks that executables run on Lambda's system, Amazon Linux 2023, whose C library is glibc 2.34: none may need a
# symbol of a newer version.
#
#     tests/glibc.sh EXECUTABLE...
#
# Needs readelf (binutils). Status 1 names the executable, the symbols and what to do.
set -euo pipefail

newest=2.34
for executable in "${@:?name an executable}"; do
    symbols=$(readelf --wide --dyn-syms "$executable")
    versions=$(grep -o 'GLIBC_[0-9.]*' <<<"$symbols" | sort -Vu || true)
    [[ -n $versions ]] || { echo "error: $executable: no symbols of glibc are found; expected a dynamic executable" >&2; exit 1; }
    needed=$(tail -n 1 <<<"$versions")
    if [[ $(printf '%s\n' "GLIBC_$newest" "$needed" | sort -V | tail -n 1) != "GLIBC_$newest" ]]; then
        late=$(awk -v newest="$newest" '
            match($0, /@+GLIBC_[0-9.]+/) {
                version = substr($0, RSTART, RLENGTH); sub(/.*GLIBC_/, "", version)
                split(version, has, "."); split(newest, most, ".")
                if (has[1] > most[1] || (has[1] == most[1] && has[2] + 0 > most[2] + 0)) print $8
            }' <<<"$symbols" | sort -u | paste -sd ' ')
        echo "error: $executable: needs $needed, but Lambda has glibc $newest: $late; build it on an older system or" \
            "with \`cargo lambda build --release\`" >&2
        exit 1
    fi
    echo "$executable: needs glibc ${needed#GLIBC_}, Lambda has $newest"
done
