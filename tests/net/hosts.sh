#!/usr/bin/env bash
# Hosts on one switch, in network namespaces of their own, with a rate and a delay each. Needs root, iproute2,
# iptables and a C compiler; touches nothing outside of its namespaces.
#
#   hosts.sh up PREFIX N              makes PREFIX-h1 to PREFIX-hN at 10.77.0.1 to 10.77.0.N
#   hosts.sh rate PREFIX HOST MBIT    limits host number HOST to so many Mbit/s each way; 0 lifts its limit
#   hosts.sh cut PREFIX HOST          takes host number HOST off the switch
#   hosts.sh mend PREFIX HOST         puts it back
#   hosts.sh down PREFIX              ends what runs in them and removes all of it; never fails
#
# RATE      Mbit/s of each host, up and down (600)
# DELAY_US  microseconds that each packet needs one way (5000); delay.c, beside this file, holds it
set -eu

verb=${1:-help}
prefix=${2:-}
if [[ -z $prefix ]]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
fi
rate=${RATE:-600}
delay_us=${DELAY_US:-5000}
delay=${TMPDIR:-/tmp}/$prefix-delay

# The namespaces of this prefix.
spaces() {
    ip netns list | awk -v prefix="$prefix-" 'index($1, prefix) == 1 { print $1 }'
}

down() {
    local space pids
    for space in $(spaces); do
        pids=$(ip netns pids "$space" 2>/dev/null) || true
        [[ -z $pids ]] || kill -9 $pids 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
    done
    rm -f "$delay"
}

# Limits host number $1 to $2 Mbit/s up (at its own end of the line) and down (at the switch's).
limit() {
    local ends end space device
    ends=("$prefix-h$1 eth0" "$prefix-sw h$1")
    for end in "${ends[@]}"; do
        read -r space device <<<"$end"
        tc -n "$space" qdisc del dev "$device" root 2>/dev/null || true
        if ((mbit > 0)); then
            tc -n "$space" qdisc add dev "$device" root tbf rate "${mbit}mbit" burst 128kb latency 50ms
        fi
    done
}

up() {
    local i space
    down
    trap down ERR
    cc -O2 -std=c11 -Wall -Wextra -o "$delay" "$(dirname "$(readlink -f "$0")")/delay.c"
    ip netns add "$prefix-sw"
    ip -n "$prefix-sw" link set lo up
    ip -n "$prefix-sw" link add br0 type bridge
    ip -n "$prefix-sw" link set br0 up
    for ((i = 1; i <= $1; i++)); do
        space=$prefix-h$i
        ip netns add "$space"
        ip -n "$space" link set lo up
        ip link add eth0 netns "$space" type veth peer name "h$i" netns "$prefix-sw"
        ip -n "$prefix-sw" link set "h$i" master br0 up
        ip -n "$space" addr add "10.77.0.$i/24" dev eth0
        ip -n "$space" link set eth0 up
        mbit=$rate limit "$i"
        if ((delay_us > 0)); then
            ip netns exec "$space" iptables -t raw -A PREROUTING -i eth0 -j NFQUEUE --queue-num 1 --queue-bypass
            ip netns exec "$space" nice -n -10 "$delay" 1 "$delay_us" </dev/null >/dev/null 2>&1 &
        fi
    done
}

case $verb in
up) up "${3:-4}" ;;
rate) mbit=${4:?MBIT} limit "${3:?HOST}" ;;
cut) ip -n "$prefix-sw" link set "h${3:?HOST}" down ;;
mend) ip -n "$prefix-sw" link set "h${3:?HOST}" up ;;
down) down ;;
*) echo "hosts.sh: $verb is neither up, rate, cut, mend nor down" >&2; exit 2 ;;
esac
