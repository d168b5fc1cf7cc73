#!/usr/bin/env bash
# Two hosts behind two NATs and a public host, in network namespaces of their own. Needs root, iproute2,
# nftables and a kernel with network namespaces; touches nothing outside of its namespaces.
#
#   nats.sh up PREFIX KIND_A KIND_B    makes PREFIX-a, PREFIX-b (behind NATs) and PREFIX-rv (public)
#   nats.sh cut PREFIX                 lets no packet pass any more between the two NATs
#   nats.sh down PREFIX                removes all of it; never fails
#
#   PREFIX-a 10.1.0.2 -- natA 203.0.113.11 -- br0 -- 203.0.113.12 natB -- 10.2.0.2 PREFIX-b
#                                              |
#                              PREFIX-rv 203.0.113.1, 203.0.113.2
#
# KIND: cone       one outside port towards everybody; lets in who was sent to (Linux masquerading)
#       fullcone   the same, but lets everybody in
#       symmetric  another outside port for each destination; lets in who was sent to
#       no-udp     a cone that drops all UDP
set -eu

verb=${1:-help}
prefix=${2:-}
if [[ -z $prefix ]]; then
    sed -n '2,17s/^# \{0,1\}//p' "$0"
    exit 2
fi

down() {
    local name
    for name in a b natA natB pub rv; do
        ip netns del "$prefix-$name" 2>/dev/null || true
    done
}

# Connects namespace $1 to the public network by interface $2 with the addresses that follow.
public() {
    local name=$1 interface=$2 address
    shift 2
    ip link add "$interface" netns "$prefix-$name" type veth peer name "v$name" netns "$prefix-pub"
    ip -n "$prefix-pub" link set "v$name" master br0 up
    for address in "$@"; do
        ip -n "$prefix-$name" addr add "$address/24" dev "$interface"
    done
    ip -n "$prefix-$name" link set "$interface" up
}

# Connects host $1 to its NAT $2 by network $3.
private() {
    ip link add lan netns "$prefix-$2" type veth peer name eth0 netns "$prefix-$1"
    ip -n "$prefix-$2" addr add "$3.1/24" dev lan
    ip -n "$prefix-$2" link set lan up
    ip -n "$prefix-$1" addr add "$3.2/24" dev eth0
    ip -n "$prefix-$1" link set eth0 up
    ip -n "$prefix-$1" route add default via "$3.1"
}

# Makes namespace $1 a NAT of kind $2 for the host $3.
nat() {
    local name=$prefix-$1 kind=$2 inside=$3 ports='' forward='' let_in=''
    case $kind in
    cone) ;;
    symmetric) ports='fully-random' ;;
    fullcone) let_in="chain pre { type nat hook prerouting priority dstnat; iifname \"wan\" udp dport 1024-65535 dnat to $inside; }" ;;
    no-udp) forward='meta l4proto udp drop;' ;;
    *) echo "nats.sh: $kind is no kind of NAT" >&2; exit 2 ;;
    esac
    ip netns exec "$name" sysctl -qw net.ipv4.ip_forward=1
    # Unsolicited packets must be dropped before the NAT remembers them, or it would take their port for
    # used and give the host behind it another one.
    ip netns exec "$name" nft -f - <<RULES
table ip nat {
    $let_in
    chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade $ports; }
}
table ip filter {
    chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }
    chain forward { type filter hook forward priority 0; policy drop; $forward iifname "lan" accept; ct state established,related accept; ct status dnat accept; }
}
RULES
}

up() {
    local name
    down
    for name in a b natA natB pub rv; do
        ip netns add "$prefix-$name"
        ip -n "$prefix-$name" link set lo up
    done
    ip -n "$prefix-pub" link add br0 type bridge
    ip -n "$prefix-pub" link set br0 up
    public rv eth0 203.0.113.1 203.0.113.2
    public natA wan 203.0.113.11
    public natB wan 203.0.113.12
    private a natA 10.1.0
    private b natB 10.2.0
    nat natA "$1" 10.1.0.2
    nat natB "$2" 10.2.0.2
}

cut_path() {
    ip netns exec "$prefix-natA" nft insert rule ip filter forward ip daddr 203.0.113.12 drop
    ip netns exec "$prefix-natA" nft insert rule ip filter forward ip saddr 203.0.113.12 drop
}

case $verb in
up) up "${3:-cone}" "${4:-cone}" ;;
cut) cut_path ;;
down) down ;;
*) echo "nats.sh: $verb is neither up, cut nor down" >&2; exit 2 ;;
esac
