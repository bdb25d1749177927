#!/usr/bin/env bash
# First start of an instance: installs one role, fetches its keys from the Parameter Store with the rights of the instance, and starts it.
# Started by cloud-init from an unpacked release; may be run again.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
tls=${POSTERN_TLS_DIR:-/etc/postern/tls}

usage() {
  cat <<USAGE
Usage: bootstrap.sh ROLE PARAMETERS [DOMAIN [EMAIL]]

ROLE is server, connector or agent. Fetches PARAMETERS/ROLE.crt, PARAMETERS/ROLE.key and PARAMETERS/ca.crt. For a server with a DOMAIN
certbot makes certificate and key, and only PARAMETERS/ca.crt is fetched: the authority of its clients' certificates.

  POSTERN_TLS_DIR  where they go ($tls)

Exit code 0 when the role was started, 1 when something failed, 2 for a wrong command line.
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

if [ "${1:-}" = --help ]; then
  usage
  exit 0
fi
if [ $# -lt 2 ] || [ $# -gt 4 ]; then
  usage >&2
  exit 2
fi
role=$1
parameters=${2%/}
domain=${3:-}
email=${4:-}
case $role in server | connector | agent) ;; *) wrong "no such role: $role" ;; esac
if ! [[ $parameters =~ ^(/[A-Za-z0-9_.-]+)+$ ]]; then wrong "Invalid parameters: '$parameters'"; fi
if [ -n "$domain" ] && [ "$role" != server ]; then wrong "only a server has a domain"; fi
command -v aws >/dev/null || fail "aws is missing: install awscli"

# fetch NAME: the parameter's text as a file that only root can read, whole or not at all.
fetch() {
  local file=$tls/$1 fresh
  fresh=$(mktemp -- "$tls/.new.XXXXXX")
  if ! aws ssm get-parameter --with-decryption --name "$parameters/$1" --query Parameter.Value --output text >"$fresh"; then
    rm -f -- "$fresh"
    fail "the parameter $parameters/$1 could not be read"
  fi
  chmod 0600 -- "$fresh"
  mv -T -- "$fresh" "$file"
}

options=()
if [ -n "$domain" ]; then options=(--with renewed-files); fi
"$here/../systemd/install.sh" "${options[@]}" "$role"
umask 077
install -d -m 0750 -- "$tls"
fetch ca.crt
units=("postern-$role.service")
if [ -n "$domain" ]; then
  "$here/setup-certbot.sh" "$domain" ${email:+"$email"}
  units+=(postern-cert-renew.timer)
else
  fetch "$role.crt"
  fetch "$role.key"
fi
systemctl enable --now "${units[@]}"
printf 'Started %s\n' "${units[*]}"
