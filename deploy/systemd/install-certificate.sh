#!/usr/bin/env bash
# Puts a certificate that certbot made or renewed where postern-server reads it with its drop-in renewed-files.conf: cert.pem, key.pem and
# ca-cert.pem are links into a folder that is exchanged as a whole, so that nobody ever sees a certificate beside another one's key.
set -euo pipefail

target=${POSTERN_RENEWED_DIR:-/etc/postern/renewed}
owner=${POSTERN_OWNER:-postern}
postern=${POSTERN_BINARY:-/usr/local/bin/postern}

usage() {
  cat <<'USAGE'
Usage: install-certificate.sh [LINEAGE]

Installs fullchain.pem, privkey.pem and chain.pem of the folder LINEAGE (default: $RENEWED_LINEAGE, as certbot sets it for its
deploy hooks) as cert.pem, key.pem and ca-cert.pem. A certificate that does not hold or does not fit its key is refused.

  POSTERN_RENEWED_DIR  where they go (/etc/postern/renewed)
  POSTERN_OWNER        whose they become (postern)
  POSTERN_BINARY       the program that checks them (/usr/local/bin/postern)

Exit code 0 when they are in place, 1 when nothing was changed, 2 for a wrong command line.
USAGE
}

fail() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}

if [ "${1:-}" = --help ]; then
  usage
  exit 0
fi
lineage=${1:-${RENEWED_LINEAGE:-}}
if [ $# -gt 1 ] || [ -z "$lineage" ]; then
  usage >&2
  exit 2
fi
for name in fullchain.pem privkey.pem chain.pem; do
  [ -f "$lineage/$name" ] || fail "no file $lineage/$name"
done
"$postern" certs check --cert "$lineage/fullchain.pem" --key "$lineage/privkey.pem" >&2 ||
  fail "the certificate in $lineage was refused; the one before stays in use"

umask 077
mkdir -p -- "$target"
chmod 0755 -- "$target"
fresh=$(mktemp -d -- "$target/set.XXXXXX")
before=$(readlink -- "$target/current" || true)
trap 'rm -rf -- "$fresh" "$target/current.new"' EXIT
install -m 0444 -- "$lineage/fullchain.pem" "$fresh/cert.pem"
install -m 0444 -- "$lineage/chain.pem" "$fresh/ca-cert.pem"
install -m 0400 -- "$lineage/privkey.pem" "$fresh/key.pem"
# The folder stays root's, so that the next one can take its place.
chmod 0711 -- "$fresh"
chown -- "$owner" "$fresh/key.pem"

for name in cert.pem key.pem ca-cert.pem; do
  if [ "$(readlink -- "$target/$name" || true)" != "current/$name" ]; then ln -sfn -- "current/$name" "$target/$name"; fi
done
ln -sfn -- "${fresh##*/}" "$target/current.new"
# A rename, in one step.
mv -T -- "$target/current.new" "$target/current"
trap - EXIT
case $before in set.*) rm -rf -- "${target:?}/$before" ;; esac
printf 'Installed the certificate of %s in %s\n' "$lineage" "$target"
