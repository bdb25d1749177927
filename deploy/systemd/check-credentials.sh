#!/usr/bin/env bash
# Before a reload: the service manager made copies of certificates and keys when the service started, and a reload reads those copies
# again. When what they were made of has been renewed since, the reload would succeed and change nothing; this says so instead.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: check-credentials.sh COPIES SOURCES

Compares each file in the folder COPIES with the file of the same name in the folder SOURCES, where there is one.
Exit code 0 when they are the same, 1 when one differs, 2 for a wrong command line.
USAGE
}

if [ "${1:-}" = --help ]; then
  usage
  exit 0
fi
if [ $# -ne 2 ]; then
  usage >&2
  exit 2
fi
copies=$1
sources=$2
if [ ! -d "$copies" ]; then
  printf 'ERROR: no folder of credentials: %s\n' "$copies" >&2
  exit 1
fi

changed=()
for copy in "$copies"/*; do
  name=${copy##*/}
  source=$sources/$name
  if [ -f "$source" ] && ! cmp -s -- "$copy" "$source"; then changed+=("$source"); fi
done
if [ ${#changed[@]} -gt 0 ]; then
  printf 'ERROR: changed since the service started: %s\n' "${changed[*]}" >&2
  printf 'Restart the service to use them, or let it read renewed files by itself with its drop-in renewed-files.conf.\n' >&2
  exit 1
fi
