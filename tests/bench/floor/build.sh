#!/bin/sh
# Builds tests/bench/floor with the same patched quiche as ffi/native, into target/floor below ffi/native, and prints the path of the
# program. Takes minutes the first time: BoringSSL is compiled. Needs what tools/native/build.sh needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
crate=$(cd "$here/../../../ffi/native" && pwd)
target=${POSTERN_FLOOR_TARGET:-$here/target}
quiche="$target/workspace/quiche"
mkdir -p "$target/workspace"

(cd "$crate" && cargo fetch --locked --quiet) >&2
patches=$(cat "$crate"/patches/*.patch | sha256sum)
if [ "$(cat "$quiche/.patched" 2>/dev/null || true)" != "$patches" ]; then
  rm -rf "$quiche"
  # shellcheck disable=SC2012 # cargo gives these folders plain names
  cp -R "$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/quiche-0.30.0 | head -n 1)" "$quiche"
  for file in "$crate"/patches/*.patch; do
    patch --silent --force --fuzz=0 -p1 -d "$quiche" <"$file" >&2
  done
  printf '%s\n' "$patches" >"$quiche/.patched"
fi
ln -sfn "$here/src" "$target/workspace/src"
{
  cat "$here/Cargo.toml"
  printf '\n[patch.crates-io]\nquiche = { path = "quiche" }\n'
} >"$target/workspace/Cargo.toml"
# The versions of the native library where both use a crate; its own name and what it alone needs drop out.
awk '/^name = /{ ours = ($3 == "\"quiche\"") } !(ours && /^(source|checksum) = /)' "$crate/Cargo.lock" |
  sed 's/^name = "postern_native"$/name = "quiche_floor"/' >"$target/workspace/Cargo.lock"
CARGO_TARGET_DIR="$target" cargo build --release --quiet --manifest-path "$target/workspace/Cargo.toml" >&2
printf '%s\n' "$target/release/quiche_floor"
