#!/usr/bin/env bash
# Installs the program and the units of one or more roles on a machine with systemd, or a newer version over an older one, which is kept
# for a way back. What an operator wrote below /etc/postern is never touched.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here

usage() {
  cat <<'USAGE'
Usage: install.sh [--binary FILE] [--with DROP-IN]... [--enable] [--root DIR] ROLE...
       install.sh --rollback [--root DIR]

ROLE is server, connector or agent.

  --binary FILE   the program (default: postern or dist/postern above this folder)
  --with DROP-IN  renewed-files: the server's certificate is renewed while it runs, with the timer that renews it;
                  tun: an agent with a network interface
  --enable        start the roles now and with the machine
  --rollback      put the program of before in the place of the one that runs, and restart what runs
  --root DIR      install below DIR, as for an image; nothing is started or restarted

Exit code 0 when it is done, 1 when something is missing or failed, 2 for a wrong command line.
USAGE
}

fail() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}

wrong() {
  printf 'ERROR: %s\n' "$1" >&2
  usage >&2
  exit 2
}

binary='' root='' enable=no rollback=no
roles=() with=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage && exit 0 ;;
    --binary | --with | --root)
      [ $# -ge 2 ] || wrong "$1 needs a value"
      case $1 in
        --binary) binary=$2 ;;
        --with) with+=("$2") ;;
        --root) root=${2%/} ;;
      esac
      shift
      ;;
    --enable) enable=yes ;;
    --rollback) rollback=yes ;;
    server | connector | agent) roles+=("$1") ;;
    *) wrong "unknown word: $1" ;;
  esac
  shift
done
for name in "${with[@]}"; do
  case $name in renewed-files | tun) ;; *) wrong "no such drop-in: $name" ;; esac
done

bin=$root/usr/local/bin
lib=$root/usr/local/lib/postern
units=$root/etc/systemd/system

# Restarts the roles that run, one by one; those that do not run stay so.
restart() {
  if [ -n "$root" ]; then return; fi
  local role
  for role in server connector agent; do
    if [ -e "$units/postern-$role.service" ]; then systemctl try-restart "postern-$role.service"; fi
  done
}

if [ "$rollback" = yes ]; then
  if [ ${#roles[@]} -gt 0 ]; then wrong "--rollback takes no role"; fi
  [ -f "$bin/postern.previous" ] || fail "there is no program of before: $bin/postern.previous"
  mv -T -- "$bin/postern.previous" "$bin/postern"
  restart
  printf 'Back to %s\n' "$("$bin/postern" --version)"
  exit 0
fi

[ ${#roles[@]} -gt 0 ] || wrong "name at least one role"
if [ -z "$binary" ]; then
  for candidate in "$here/../../postern" "$here/../../dist/postern"; do
    if [ -f "$candidate" ]; then binary=$candidate && break; fi
  done
fi
[ -n "$binary" ] || fail "no program found above $here; name it with --binary"
[ -f "$binary" ] || fail "no file $binary"
for name in "${with[@]}"; do
  if [ "$name" = renewed-files ] && [ ! -e "$root/etc/postern/renewed/cert.pem" ] && [ -z "$root" ] && systemctl is-active --quiet postern-server; then
    fail "the server that runs would find no certificate: run $here/install-certificate.sh FOLDER first"
  fi
done
version=$("$binary" --version) || fail "$binary does not run on this machine"

install -d -m 0755 -- "$bin" "$lib" "$units" "$root/etc/sysusers.d" "$root/etc/tmpfiles.d" "$root/etc/sysctl.d" "$root/etc/postern"
install -m 0755 -- "$binary" "$bin/postern.new"
if [ -f "$bin/postern" ] && ! cmp -s -- "$bin/postern" "$bin/postern.new"; then cp -pf -- "$bin/postern" "$bin/postern.previous"; fi
# A rename: a program that runs cannot be written over, and nobody finds half of one.
mv -T -- "$bin/postern.new" "$bin/postern"
install -m 0755 -- "$here/check-credentials.sh" "$here/install-certificate.sh" "$lib"
install -m 0644 -- "$here/postern.sysusers" "$root/etc/sysusers.d/postern.conf"
install -m 0644 -- "$here/postern.tmpfiles" "$root/etc/tmpfiles.d/postern.conf"
install -m 0644 -- "$here/postern.sysctl" "$root/etc/sysctl.d/60-postern.conf"
for role in "${roles[@]}"; do
  install -m 0644 -- "$here/postern-$role.service" "$units"
  if [ ! -e "$root/etc/postern/$role.env" ]; then install -m 0644 -- "$here/$role.env" "$root/etc/postern/$role.env"; fi
done
for name in "${with[@]}"; do
  case $name in renewed-files) role=server ;; tun) role=agent ;; esac
  install -D -m 0644 -- "$here/postern-$role.service.d/$name.conf" "$units/postern-$role.service.d/$name.conf"
  if [ "$role" = server ]; then install -m 0644 -- "$here"/postern-cert-renew.{service,timer} "$units"; fi
done

systemd-sysusers ${root:+--root="$root"} "$root/etc/sysusers.d/postern.conf"
systemd-tmpfiles ${root:+--root="$root"} --create "$root/etc/tmpfiles.d/postern.conf"
if [ -z "$root" ]; then
  sysctl -q -p /etc/sysctl.d/60-postern.conf || printf 'The buffers of sockets could not be enlarged: see the event socket-buffers\n' >&2
  systemctl daemon-reload
  restart
fi
if [ "$enable" = yes ]; then
  now=()
  if [ -z "$root" ]; then now=(--now); fi
  for role in "${roles[@]}"; do systemctl ${root:+--root="$root"} enable "${now[@]}" "postern-$role.service"; done
  for name in "${with[@]}"; do
    if [ "$name" = renewed-files ]; then systemctl ${root:+--root="$root"} enable "${now[@]}" postern-cert-renew.timer; fi
  done
fi
printf 'Installed %s: %s\n' "$version" "${roles[*]}"
