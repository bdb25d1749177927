#!/usr/bin/env bash
# Has certbot make the server's certificate by a DNS record in Route53, so that no port has to be open, and puts it where postern-server
# reads it. postern-cert-renew.timer renews it from then on.
set -euo pipefail

lib=${POSTERN_LIB:-/usr/local/lib/postern}
letsencrypt=${LETSENCRYPT_DIR:-/etc/letsencrypt}
unit=postern-server

usage() {
  cat <<USAGE
Usage: setup-certbot.sh DOMAIN [EMAIL]

Makes a certificate for DOMAIN (dns-01 by Route53, with the rights of this machine's role) and installs it as cert.pem, key.pem and
ca-cert.pem by $lib/install-certificate.sh. Without EMAIL nobody is told when it is about to end.

  POSTERN_LIB      where the scripts of the units are ($lib)
  LETSENCRYPT_DIR  certbot's folder ($letsencrypt)

Exit code 0 when the certificate is in place, 1 when it is not, 2 for a wrong command line.
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
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  usage >&2
  exit 2
fi
domain=$1
email=${2:-}
# The domain becomes part of a path.
if ! [[ $domain =~ ^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$ ]]; then wrong "Invalid domain: '$domain'"; fi
if [ -n "$email" ] && ! [[ $email =~ ^[^@[:space:]-][^@[:space:]]*@[^@[:space:]]+\.[^@[:space:]]+$ ]]; then wrong "Invalid email: '$email'"; fi
command -v certbot >/dev/null || fail "certbot is missing: install certbot and python3-certbot-dns-route53"
[ -x "$lib/install-certificate.sh" ] || fail "no $lib/install-certificate.sh: run deploy/systemd/install.sh first"

account=(--register-unsafely-without-email)
if [ -n "$email" ]; then account=(--email "$email"); fi
# certbot keeps the hook with the certificate, so that it runs whoever renews: our timer, or the one of a distribution.
certbot certonly --dns-route53 -d "$domain" --non-interactive --agree-tos "${account[@]}" \
  --deploy-hook "$lib/install-certificate.sh && systemctl kill -s SIGHUP $unit" || fail "certbot made no certificate for $domain"
"$lib/install-certificate.sh" "$letsencrypt/live/$domain"
