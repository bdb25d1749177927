#!/bin/sh
# Prints one digest over everything that the native library is built from.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."
{
  printf '%s\n' ffi/native/Cargo.toml ffi/native/Cargo.lock tools/native/build.sh
  find ffi/native/src ffi/native/include ffi/native/patches -type f
} | sort | while IFS= read -r file; do
  sha256sum "$file"
done | sha256sum | cut -d ' ' -f 1
