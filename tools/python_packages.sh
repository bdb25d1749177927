#!/usr/bin/env bash
# `python_packages.sh NAME` puts the Python packages of tools/python_NAME.txt into .tools/python_NAME, by `python3 -m pip`, which follows your
# settings (mirror, proxy, private CA). Needs no root and no virtual environment, and changes nothing outside that folder. When they are
# there it says nothing. The tests that need them call it, and are skipped with its last line as the reason when it fails.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=${1:-}
list=$root/tools/python_$name.txt
target=$root/.tools/python_$name
stamp=$target/.stamp

fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

[ -f "$list" ] || fail "there is no list $list"
command -v python3 >/dev/null || fail "python3 is missing"
# Compiled packages belong to one version of Python.
wanted=$(python3 -c 'import sys; print(sys.version_info[:2])' && cat "$list")
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi
python3 -m pip --version >/dev/null 2>&1 || fail "python3 -m pip does not work here"

mkdir -p "$root/.tools"
exec 9>"$root/.tools/python_$name.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi
fresh=$(mktemp -d "$root/.tools/python_$name.XXXXXX")
trap 'rm -rf -- "$fresh"' EXIT
# install TARGET LIST OPTIONS...
install() {
  timeout 300 python3 -m pip --quiet --disable-pip-version-check --no-input --retries 2 install --no-deps \
    --only-binary=:all: --target "$1" --requirement "$2" "${@:3}" >>"$fresh/log" 2>&1
}
if [ "$(wc -l <"$list")" -lt 60 ]; then
  install "$fresh/packages" "$list" || failed=yes
else
  # Many of them by two at a time, since pip does one after the other; and what runs once is not compiled before.
  grep -v '^#' "$list" | split -n r/2 - "$fresh/list."
  install "$fresh/part.aa" "$fresh/list.aa" --no-compile &
  install "$fresh/part.ab" "$fresh/list.ab" --no-compile || failed=yes
  wait "$!" || failed=yes
fi
if [ -n "${failed:-}" ]; then
  fail "pip could not install them: $(grep -i error "$fresh/log" | tail -n 1 | cut -c 1-160)"
fi
if [ -d "$fresh/part.aa" ]; then
  mkdir "$fresh/packages"
  cp -al "$fresh"/part.*/. "$fresh/packages"
fi
printf '%s\n' "$wanted" >"$fresh/packages/.stamp"
rm -rf -- "$target"
mv -- "$fresh/packages" "$target"
