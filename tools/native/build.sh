#!/bin/sh
# Builds lib/linux-x64/libpostern_native.so from ffi/native, the same bytes from every folder, and writes beside it the
# header, SHA256SUMS, SOURCES.sha256 and compilers.json, and ffi/digest.ts. With the argument linux-arm64 it does so for
# that processor, on x86-64 as well; tools/native/arm64.sh calls it where the compilers for that are.
#
# Needs cargo, cmake, a C and C++ compiler with the static libstdc++, libclang (for bindgen), objdump and sha256sum.
# POSTERN_NATIVE_TARGET names another folder for intermediate files. A cold build takes about five minutes on two cores.
set -eu
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
crate="$root/ffi/native"
machine=${1:-linux-x64}
out="$root/lib/$machine"
target=${POSTERN_NATIVE_TARGET:-$crate/target}
glibc_floor=2.34

fail() {
  echo "postern: error: $1" >&2
  echo "postern: hint: $2" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null 2>&1 || fail "the native build needs $1, which is not installed" "$2"
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the native library is built on Linux x86-64" "use the prebuilt library in lib/linux-x64"
case $machine in
  linux-x64) tool='' triple='' ;;
  linux-arm64) tool=aarch64-linux-gnu- triple=aarch64-unknown-linux-gnu ;;
  *) fail "there is no native library for $machine" "say linux-x64 or linux-arm64" ;;
esac
need cargo "install Rust 1.88 or newer, for example with rustup"
need cmake "apt-get install cmake (or dnf install cmake)"
need patch "apt-get install patch (or dnf install patch)"
if [ -z "$triple" ]; then
  need gcc "apt-get install gcc g++ (or dnf install gcc gcc-c++)"
  need g++ "apt-get install g++ (or dnf install gcc-c++)"
  need objdump "apt-get install binutils (or dnf install binutils)"
else
  need ${tool}gcc "run tools/native/arm64.sh, or apt-get install gcc-aarch64-linux-gnu"
  need ${tool}g++ "run tools/native/arm64.sh, or apt-get install g++-aarch64-linux-gnu"
  need ${tool}objdump "run tools/native/arm64.sh, or apt-get install binutils-aarch64-linux-gnu"
  [ -d "$(rustc --print target-libdir --target $triple)" ] ||
    fail "Rust has no standard library for $triple here" "run tools/native/arm64.sh, or rustup target add $triple"
fi
need sha256sum "apt-get install coreutils"

# bindgen loads libclang; it looks in LIBCLANG_PATH, asks llvm-config, then searches the usual folders.
if [ -z "${LIBCLANG_PATH:-}" ] && ! command -v llvm-config >/dev/null 2>&1; then
  found=no
  for file in /usr/lib/llvm*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so* /usr/lib/libclang*.so* /usr/local/lib/libclang*.so*; do
    [ -e "$file" ] && found=yes && break
  done
  [ "$found" = yes ] || fail "the native build needs libclang, which was not found" "apt-get install libclang-dev (or dnf install clang-devel), or set LIBCLANG_PATH"
fi

# The runtime needs libgcc_s anyway; libstdc++ is the one library that the host may lack, so it goes in. A folder that
# holds nothing but the archive makes the linker take it.
archive=$(${tool}g++ -print-file-name=libstdc++.a)
[ -f "$archive" ] || fail "the static libstdc++ is missing" "apt-get install libstdc++-12-dev (or dnf install libstdc++-static)"
mkdir -p "$target/static"
ln -sf "$archive" "$target/static/libstdc++.a"

# quiche with our patches, each of which says in its first lines what for. It lies inside of the folder that cargo starts in, so
# that its path has no part in the result; it is made anew only when the patches change, so that cargo sees what is to be done.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
cd "$crate"
cargo fetch --locked
workspace="$target/workspace"
quiche="$workspace/quiche"
mkdir -p "$workspace"
patches=$(cat "$crate"/patches/*.patch | sha256sum)
if [ "$(cat "$quiche/.patched" 2>/dev/null || true)" != "$patches" ]; then
  rm -rf "$quiche"
  # shellcheck disable=SC2012 # cargo gives these folders plain names
  cp -R "$(ls -d "$cargo_home"/registry/src/*/quiche-0.30.0 | head -n 1)" "$quiche"
  for file in "$crate"/patches/*.patch; do
    patch --silent --force --fuzz=0 -p1 -d "$quiche" <"$file" || fail "$file does not fit quiche 0.30.0" "make it anew for this version"
  done
  printf '%s\n' "$patches" >"$quiche/.patched"
fi
# The lock file names quiche as it was published, and cargo fetch has checked it; here the patched folder stands in its place.
ln -sfn "$crate/src" "$workspace/src"
{
  cat "$crate/Cargo.toml"
  printf '\n[patch.crates-io]\nquiche = { path = "quiche" }\n'
} >"$workspace/Cargo.toml"
awk '/^name = /{ ours = ($3 == "\"quiche\"") } !(ours && /^(source|checksum) = /)' "$crate/Cargo.lock" >"$workspace/Cargo.lock"

# No path of this machine may stay in the result, nor the name of the registry that the crates came from. Of two prefixes
# that match, rustc and gcc take the one named last.
export CARGO_TARGET_DIR="$target"
rust_maps="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/postern --remap-path-prefix=$target=/target"
c_maps="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$target=/target"
for registry in "$cargo_home"/registry/src/*; do
  rust_maps="$rust_maps --remap-path-prefix=$registry=/cargo"
  c_maps="$c_maps -ffile-prefix-map=$registry=/cargo"
done
export RUSTFLAGS="$rust_maps -L native=$target/static"
export SOURCE_DATE_EPOCH=0
if [ -z "$triple" ]; then
  export CFLAGS="$c_maps"
  export CXXFLAGS="$c_maps"
  cargo build --release --locked --manifest-path "$workspace/Cargo.toml"
  built="$target/release/libpostern_native.so"
else
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=${tool}gcc
  export CC_aarch64_unknown_linux_gnu=${tool}gcc CXX_aarch64_unknown_linux_gnu=${tool}g++ AR_aarch64_unknown_linux_gnu=${tool}ar
  export CFLAGS_aarch64_unknown_linux_gnu="$c_maps"
  export CXXFLAGS_aarch64_unknown_linux_gnu="$c_maps"
  export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--target=aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include"
  cargo build --release --locked --target $triple --manifest-path "$workspace/Cargo.toml"
  built="$target/$triple/release/libpostern_native.so"
fi

# Our header declares quiche's functions once more: the compiler says when the two differ.
for header in "$cargo_home"/registry/src/*/quiche-0.30.0/include/quiche.h; do
  printf '#include <time.h>\n#include "%s"\n#include "postern_native.h"\n' "$header" |
    ${tool}gcc -std=gnu11 -Wall -Werror -fsyntax-only -I"$crate/include" -x c - || fail "the header contradicts quiche's" "compare it with $header"
done

newest=$(${tool}objdump -T "$built" | sed -n 's/.*(\{0,1\}GLIBC_\([0-9.]*\)).*/\1/p; s/.* GLIBC_\([0-9.]*\) .*/\1/p' | sort -Vu | tail -n 1)
[ "$(printf '%s\n%s\n' "$newest" "$glibc_floor" | sort -V | tail -n 1)" = "$glibc_floor" ] ||
  fail "the library would need glibc $newest, the floor is $glibc_floor" "build on a system with an older glibc"
if ${tool}objdump -p "$built" | grep -q 'NEEDED.*libstdc++'; then
  fail "libstdc++ was linked dynamically" "look at RUSTFLAGS in tools/native/build.sh"
fi

mkdir -p "$out"
# A running program may have the old file mapped: replace it, do not write into it.
cp "$built" "$out/.libpostern_native.so.new"
chmod 0644 "$out/.libpostern_native.so.new"
mv "$out/.libpostern_native.so.new" "$out/libpostern_native.so"
cp "$crate/include/postern_native.h" "$out/postern_native.h"
(cd "$out" && sha256sum libpostern_native.so postern_native.h >SHA256SUMS)
"$root/tools/native/sources.sh" >"$out/SOURCES.sha256"
printf '{ "rust": "%s", "gcc": "%s" }\n' "$(rustc --version | cut -d ' ' -f 2)" "$(${tool}g++ -dumpfullversion)" >"$out/compilers.json"
digest_of() { sed -n 's/  libpostern_native.so$//p' "$root/lib/$1/SHA256SUMS"; }
abi=$(sed -n 's/^const ABI_VERSION: u32 = \([0-9]*\);$/\1/p' "$crate/src/abi.rs")
cat >"$root/ffi/digest.ts" <<TS
/** Written by tools/native/build.sh: which libraries this source tree belongs to. */
export const LIBRARY_DIGESTS = {
  "linux-x64": "$(digest_of linux-x64)",
  "linux-arm64": "$(digest_of linux-arm64)",
} as const;
export const LIBRARY_ABI_VERSION = $abi;
TS
echo "built lib/$machine/libpostern_native.so: $(wc -c <"$out/libpostern_native.so") bytes, glibc $newest, sha256 $(digest_of "$machine")"
