#!/usr/bin/env bash
# Makes this network namespace or container a gateway with NAT: what comes from the private side leaves under the gateway's address, and
# nothing that nobody asked for comes in. Needs CAP_NET_ADMIN here, and only here.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: setup-nat.sh [--stay]

  --stay   then wait until this process is ended, as the only process of a container

Variables:
  PRIVATE_IFACE   default: the interface with an address in 10.0.0.0/8
  PUBLIC_IFACE    default: the other one
  NAT_KIND        restricted (default): a port stays the same for all destinations
                  symmetric: another outside port for every destination
  SERVER_ADDRESS  if set: UDP port 4433 of the private side leads to this IPv4 address, for hosts that have no route through here

exit code: 0 done, 1 a wrong name or no way to do it, 2 wrong arguments
USAGE
}

fail() {
  printf 'ERROR: %s\n' "$1" >&2
  exit "${2:-1}"
}

stay=no
case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  --stay) stay=yes ;;
  '') ;;
  *) usage >&2 && exit 2 ;;
esac

# Only names go further: they stand in rules and in paths below /proc.
interface() {
  [[ $1 =~ ^[a-zA-Z0-9]+$ ]] || fail "Invalid interface name: '$1' (must be alphanumeric)"
}
kind=${NAT_KIND:-restricted}
[[ $kind = restricted || $kind = symmetric ]] || fail "Invalid NAT_KIND: '$kind' (must be restricted or symmetric)"
server=${SERVER_ADDRESS:-}
[[ -z $server || $server =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || fail "Invalid SERVER_ADDRESS: '$server' (must be an IPv4 address)"
[ -z "${PRIVATE_IFACE:-}" ] || interface "$PRIVATE_IFACE"
[ -z "${PUBLIC_IFACE:-}" ] || interface "$PUBLIC_IFACE"

addresses=$(ip -o -4 addr show) || fail "ip does not work here"
private=${PRIVATE_IFACE:-$(awk '$4 ~ /^10\./ { print $2; exit }' <<<"$addresses")}
public=${PUBLIC_IFACE:-$(awk '$2 != "lo" && $4 !~ /^10\./ { print $2; exit }' <<<"$addresses")}
[ -n "$private" ] || fail "no interface has an address in 10.0.0.0/8: name the private one in PRIVATE_IFACE"
[ -n "$public" ] || fail "every interface with an IPv4 address is private: name the other one in PUBLIC_IFACE"
interface "$private"
interface "$public"

forwarding=/proc/sys/net/ipv4/ip_forward
if [ "$(cat "$forwarding")" != 1 ]; then echo 1 >"$forwarding" || fail "packets are not forwarded, and $forwarding cannot be written"; fi
rule() { iptables -w "$@" || fail "iptables -w $* failed"; }
rule -P FORWARD DROP
rule -A FORWARD -i "$private" -o "$public" -j ACCEPT
# Where the private side is a bridge, its own traffic may come by here too.
rule -A FORWARD -i "$private" -o "$private" -j ACCEPT
rule -A FORWARD -i "$public" -o "$private" -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
# As routers do: what nobody asked for is dropped and leaves no trace that would take a port.
rule -A INPUT -i "$public" -m conntrack --ctstate NEW -j DROP
if [ "$kind" = symmetric ]; then
  rule -t nat -A POSTROUTING -o "$public" -j MASQUERADE --random-fully
else
  rule -t nat -A POSTROUTING -o "$public" -j MASQUERADE
fi
if [ -n "$server" ]; then
  rule -t nat -A PREROUTING -i "$private" -p udp --dport 4433 -j DNAT --to-destination "$server:4433"
fi
echo "gateway: $private (private) to $public (public), $kind NAT"

if [ "$stay" = yes ]; then
  trap 'exit 0' TERM INT
  sleep infinity &
  wait
fi
