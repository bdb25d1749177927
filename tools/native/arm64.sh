#!/bin/sh
# Builds lib/linux-arm64 on x86-64. Compilers alone do not do: Rust needs its standard library for the other processor, and Debian
# is where that lies beside a compiler of the same version, in packages. So a Debian is laid out in a folder of its own, with
# those packages in it, and tools/native/build.sh runs in there on a copy of the sources.
#
# Needs Linux on x86-64 as root, Debian 12 in the settings of apt, debootstrap and 5 GB. The folder is .tools/arm64, or what
# POSTERN_ARM64_ROOT says; it is made once. That and a cold build take about ten minutes on two cores.
set -eu
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${POSTERN_ARM64_ROOT:-$root/.tools/arm64}
suite=bookworm
rust="rustc-web cargo-web libstd-rust-web-dev:arm64"
tools="gcc-aarch64-linux-gnu g++-aarch64-linux-gnu gcc g++ binutils cmake make patch git libclang-dev ca-certificates"
kilobytes_min=5000000

fail() {
  echo "postern: error: $1" >&2
  echo "postern: hint: $2" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null 2>&1 || fail "the build for arm64 needs $1, which is not installed" "apt-get install $2"
}

# in_folder COMMAND...: runs it in the folder. What it mounts is seen by it alone and goes with it.
in_folder() {
  # shellcheck disable=SC2016 # the inner shell's variables
  unshare --mount sh -c '
    folder=$1 crates=$2
    shift 2
    mount -t proc proc "$folder/proc"
    mount --rbind /dev "$folder/dev"
    mount --bind "$crates" "$folder/root/.cargo/registry"
    exec chroot "$folder" env HOME=/root CARGO_HOME=/root/.cargo DEBIAN_FRONTEND=noninteractive "$@"
  ' sh "$folder" "$crates" "$@"
}

# What apt here knows of Debian 12, as lines of a sources.list.
sources() {
  apt-get indextargets --format "deb \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" "Created-By: Packages" "Origin: Debian" | grep " $suite" | sort -u
}

make_folder() {
  need debootstrap debootstrap
  need apt-get apt
  sources | grep -q " $suite main\$" || fail "apt has no Debian 12 here" "run this on Debian 12 (bookworm)"
  mirror=$(sources | grep " $suite main\$" | head -n 1 | cut -d ' ' -f 2)
  mkdir -p "$folder"
  free=$(df --output=avail -k "$folder" | tail -n 1)
  [ "$free" -ge $kilobytes_min ] || fail "$folder has $free kilobytes left, and $kilobytes_min are needed" "let POSTERN_ARM64_ROOT name another folder"
  rm -rf "$folder"
  mkdir -p "$folder"
  echo "arm64: laying out Debian 12 in $folder"
  timeout 900 debootstrap --variant=minbase --include=ca-certificates $suite "$folder" "$mirror" >"$folder.log" 2>&1 ||
    fail "debootstrap did not succeed: $(tail -n 1 "$folder.log")" "look at $folder.log"
  sources >"$folder/etc/apt/sources.list"
  mkdir -p "$folder/root/.cargo/registry"
  echo "arm64: installing the compilers"
  # shellcheck disable=SC2086 # a list of words
  {
    in_folder dpkg --add-architecture arm64 &&
      in_folder timeout 300 apt-get -qq update &&
      in_folder timeout 1800 apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install $rust $tools
  } >>"$folder.log" 2>&1 || fail "the packages could not be installed: $(tail -n 1 "$folder.log")" "look at $folder.log"
  printf '%s\n' "$rust $tools" >"$folder/ready"
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "this builds on Linux x86-64" "use the prebuilt library in lib/linux-arm64"
[ "$(id -u)" -eq 0 ] || fail "laying out a Debian needs root" "use the prebuilt library in lib/linux-arm64, or run this as root"
need unshare util-linux
need chroot coreutils

# Crates that cargo has fetched here need not be fetched again.
crates=${CARGO_HOME:-$HOME/.cargo}/registry
mkdir -p "$crates"
[ "$(cat "$folder/ready" 2>/dev/null || true)" = "$rust $tools" ] || make_folder

# How this machine reaches a registry of crates: by which names, through which settings, trusting whom.
cp /etc/resolv.conf "$folder/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
if [ -f "$crates/../config.toml" ]; then cp "$crates/../config.toml" "$folder/root/.cargo/config.toml"; fi

build="$folder/build"
mkdir -p "$build/ffi/native" "$build/tools" "$build/lib"
for path in ffi/native/src ffi/native/include ffi/native/patches tools/native lib/linux-x64; do
  rm -rf "${build:?}/$path"
  cp -pR "$root/$path" "$build/$path"
done
cp -p "$root/ffi/native/Cargo.toml" "$root/ffi/native/Cargo.lock" "$build/ffi/native/"
mkdir -p "$build/lib/linux-arm64"
in_folder env POSTERN_NATIVE_TARGET=/build/target sh /build/tools/native/build.sh linux-arm64

mkdir -p "$root/lib/linux-arm64"
cp "$build/lib/linux-arm64"/* "$root/lib/linux-arm64/"
cp "$build/ffi/digest.ts" "$root/ffi/digest.ts"
