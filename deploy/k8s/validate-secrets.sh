#!/usr/bin/env bash
# Looks, before a deployment, whether the Secrets that its pods mount are there and hold a certificate and a key. Prints no secret.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: validate-secrets.sh [namespace] [secret...]

Checks that each Secret has a tls.crt and a tls.key that are PEM.
  namespace   default: ztna
  secret      default: ztna-intermediate-tls ztna-connector-tls

exit code: 0 all are well, 1 one is not, 2 wrong arguments or no kubectl
USAGE
}

fail_usage() {
  printf 'ERROR: %s\n' "$1" >&2
  usage >&2
  exit 2
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      usage
      exit 0
      ;;
    *) [[ $argument =~ ^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$ ]] || fail_usage "not a name of Kubernetes: '$argument'" ;;
  esac
done
command -v kubectl >/dev/null || {
  echo "ERROR: kubectl is not on PATH" >&2
  exit 2
}

namespace=${1:-ztna}
[ $# -eq 0 ] || shift
secrets=("$@")
[ ${#secrets[@]} -gt 0 ] || secrets=(ztna-intermediate-tls ztna-connector-tls)

# What is wrong with one field of a Secret; nothing when it is well. The value stays in this process.
wrong_with() {
  local secret=$1 field=$2 words=$3 value
  value=$(kubectl get secret "$secret" -n "$namespace" -o "jsonpath={.data.${field/./\\.}}" 2>/dev/null) || value=
  if [ -z "$value" ]; then
    printf 'missing %s' "$field"
  elif ! base64 --decode <<<"$value" 2>/dev/null | grep -qE -e "-----BEGIN ($words)-----"; then
    printf '%s is not PEM' "$field"
  fi
}

failed=0
for secret in "${secrets[@]}"; do
  if ! why=$(kubectl get secret "$secret" -n "$namespace" 2>&1 >/dev/null); then
    if [[ $why == *"(NotFound)"* ]]; then
      echo "FAIL: $secret: not found in namespace $namespace"
    else
      # No cluster, no right to look: what kubectl says of it is what helps.
      echo "FAIL: $secret: kubectl cannot look in namespace $namespace"
      printf '%s\n' "$why" >&2
    fi
    failed=$((failed + 1))
    continue
  fi
  certificate=$(wrong_with "$secret" tls.crt 'CERTIFICATE')
  key=$(wrong_with "$secret" tls.key '[A-Z ]*PRIVATE KEY')
  if [ -n "$certificate$key" ]; then
    echo "FAIL: $secret: $certificate${certificate:+${key:+, }}$key"
    failed=$((failed + 1))
  else
    echo "OK: $secret"
  fi
done

if [ "$failed" -gt 0 ]; then
  echo "VALIDATION FAILED: $failed secret(s) missing or incomplete."
  exit 1
fi
echo "All TLS secrets validated successfully."
