#!/usr/bin/env bash
# A laboratory on one machine: agent and connector in private networks behind a NAT each, the server in public between them, every one in a
# network namespace of its own. What is outside of these namespaces is not touched.
#
#   agent 10.10.1.2 ── NAT 203.0.113.10 ── server 203.0.113.1 ── NAT 203.0.113.20 ── connector 10.10.2.2, service 10.10.2.3
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: natlab.sh up|run|status|down

  up       make the networks and start the roles and a service
  run      move a file through them and compare its checksum; brings the laboratory up and down around it if it is not there
  status   what each role says
  down     end everything of the laboratory and remove it

Variables:
  POSTERN       the program (default: postern or dist/postern above this folder, else postern on PATH)
  NATLAB_NAME   for several at a time (default: natlab); letters and digits, at most 16
  NATLAB_MIB    how much run moves (default: 64)
  NAT_KIND      of both gateways: restricted or symmetric (default: restricted)

Needs root, and ip, iptables, nsenter, curl and python3.
exit code: 0 done, 1 something failed, 2 wrong arguments
USAGE
}

fail() {
  printf 'ERROR: %s\n' "$1" >&2
  exit "${2:-1}"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${NATLAB_NAME:-natlab}
mib=${NATLAB_MIB:-64}
[[ $name =~ ^[a-zA-Z0-9]{1,16}$ ]] || fail "Invalid NATLAB_NAME: '$name' (letters and digits, at most 16)" 2
[[ $mib =~ ^[1-9][0-9]{0,4}$ ]] || fail "Invalid NATLAB_MIB: '$mib'" 2
state=/run/postern-$name
hosts=(server natagent agent natconnector connector service)

space() { printf '%s-%s' "$name" "$1"; }
# within HOST COMMAND...: by its own name, the network of a host is all that it has of its own.
within() {
  local host=$1
  shift
  nsenter --net="/run/netns/$(space "$host")" -- "$@"
}
exists() { [ -e "/run/netns/$(space server)" ]; }

prepare() {
  [ "$(id -u)" -eq 0 ] || fail "network namespaces need root"
  local tool
  for tool in ip iptables nsenter curl python3 sha256sum; do command -v "$tool" >/dev/null || fail "$tool is not on PATH"; done
  postern=${POSTERN:-}
  if [ -z "$postern" ]; then
    for postern in "$here/../../postern" "$here/../../dist/postern" "$(command -v postern || true)"; do
      if [ -f "$postern" ] && [ -x "$postern" ]; then break; fi
    done
  fi
  [ -x "$postern" ] || fail "no program: run make build, or say where it is in POSTERN"
}

# cable HOST DEVICE ADDRESS OTHER PORT: a cable from DEVICE of HOST to the bridge of OTHER.
cable() {
  ip -n "$(space "$4")" link add "$5" type veth peer name "$2" netns "$(space "$1")"
  ip -n "$(space "$4")" link set "$5" master lan up
  ip -n "$(space "$1")" addr add "$3" dev "$2"
  ip -n "$(space "$1")" link set "$2" up
}

bridge() {
  ip -n "$(space "$1")" link add lan type bridge
  ip -n "$(space "$1")" addr add "$2" dev lan
  ip -n "$(space "$1")" link set lan up
}

networks() {
  local host
  for host in "${hosts[@]}"; do
    ip netns add "$(space "$host")"
    ip -n "$(space "$host")" link set lo up
  done
  bridge server 203.0.113.1/24
  cable natagent wan 203.0.113.10/24 server port1
  cable natconnector wan 203.0.113.20/24 server port2
  bridge natagent 10.10.1.1/24
  bridge natconnector 10.10.2.1/24
  cable agent eth0 10.10.1.2/24 natagent port1
  cable connector eth0 10.10.2.2/24 natconnector port1
  cable service eth0 10.10.2.3/24 natconnector port2
  ip -n "$(space agent)" route add default via 10.10.1.1
  for host in connector service; do ip -n "$(space "$host")" route add default via 10.10.2.1; done
  for host in natagent natconnector; do PRIVATE_IFACE=lan PUBLIC_IFACE=wan within "$host" "$here/setup-nat.sh" >/dev/null; done
}

# start HOST ROLE FLAGS...
start() {
  local host=$1 role=$2
  shift 2
  within "$host" "$postern" "$role" --log-format json --unix-socket-path "$state/$role.sock" "$@" \
    </dev/null >/dev/null 2>"$state/$role.log" &
}

# ready WHAT COMMAND...: tries it for a minute.
ready() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 5 "$state"/*.log >&2 2>/dev/null || true
      fail "$what is not ready after 60 s"
    fi
    sleep 0.2
  done
}

roles() {
  local pki=$state/pki
  "$postern" certs init "$pki" --service web --name 203.0.113.1 >/dev/null
  mkdir "$state/files"
  head -c "$((mib * 1024 * 1024))" /dev/urandom >"$state/files/random"
  within service python3 -m http.server 8080 --bind 10.10.2.3 --directory "$state/files" </dev/null >/dev/null 2>"$state/service.log" &
  local client=(--server 203.0.113.1:4433 --ca-cert "$pki/ca-cert.pem")
  start server server --bind 203.0.113.1 --ca-cert "$pki/ca-cert.pem" --cert "$pki/server-cert.pem" --key "$pki/server-key.pem"
  start connector connector "${client[@]}" --service web=10.10.2.3:8080 \
    --client-cert "$pki/connector-cert.pem" --client-key "$pki/connector-key.pem"
  start agent agent "${client[@]}" --forward 9000=web --client-cert "$pki/agent-cert.pem" --client-key "$pki/agent-key.pem"
  local role
  for role in server connector agent; do ready "the $role" "$postern" health --unix-socket-path "$state/$role.sock"; done
  ready "the service" within agent curl --silent --fail --max-time 5 --head http://127.0.0.1:9000/random
}

up() {
  prepare
  if exists || [ -e "$state" ]; then fail "the laboratory '$name' is there already: natlab.sh down"; fi
  trap take_down EXIT
  trap 'exit 1' INT TERM HUP
  mkdir -m 0700 "$state"
  networks
  roles
  echo "natlab: up, the agent's port 127.0.0.1:9000 leads to the service 10.10.2.3:8080"
}

run() {
  local kept=no
  if exists; then prepare && kept=yes; else up; fi
  if within agent curl --silent --max-time 2 http://10.10.2.3:8080/ >/dev/null 2>&1; then
    fail "the agent reaches the service without the tunnel: this is no laboratory"
  fi
  echo "natlab: the agent cannot reach 10.10.2.3 by itself"
  local wanted got
  wanted=$(sha256sum <"$state/files/random")
  got=$(within agent curl --silent --show-error --fail --max-time 120 http://127.0.0.1:9000/random | sha256sum)
  [ "$got" = "$wanted" ] || fail "the file arrived with another checksum: ${got%% *} for ${wanted%% *}"
  echo "natlab: $(stat -c %s "$state/files/random") bytes through agent, NAT, server, NAT, connector: SHA-256 ${got%% *}, as they left"
  if [ "$kept" = no ]; then
    trap - EXIT
    take_down
  fi
}

status() {
  exists || fail "the laboratory '$name' is not up"
  prepare
  local role
  for role in server connector agent; do "$postern" status --unix-socket-path "$state/$role.sock" || true; done
}

# What lives in our namespaces is ours alone. Nothing here may stop the rest.
take_down() {
  local host pids
  trap '' INT TERM HUP
  for host in "${hosts[@]}"; do
    [ -e "/run/netns/$(space "$host")" ] || continue
    pids=$(ip netns pids "$(space "$host")" 2>/dev/null | tr '\n' ' ' || true)
    # shellcheck disable=SC2086 # one word for each process
    [ -z "${pids// /}" ] || kill -KILL $pids 2>/dev/null || true
    ip netns delete "$(space "$host")" 2>/dev/null || true
  done
  rm -rf -- "$state"
  echo "natlab: down"
}

[ $# -eq 1 ] || { usage >&2 && exit 2; }
case $1 in
  up)
    up
    trap - EXIT
    ;;
  run) run ;;
  status) status ;;
  down)
    [ "$(id -u)" -eq 0 ] || fail "network namespaces need root"
    take_down
    ;;
  -h | --help) usage ;;
  *) usage >&2 && exit 2 ;;
esac
