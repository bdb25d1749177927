#!/usr/bin/env bash
# Makes the image of a binary, in an unpacked release as in a checkout: lays out the image's files in dist/image/PROCESSOR beside deploy/
# (the binary, the shared objects that its loader maps, the public authorities, the order in which names are looked up), and has buildah
# make an image of nothing else, with no base image, no engine and no network. `docker load` and `podman load` take what comes out.
set -euo pipefail
umask 022

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root
# Where a client looks for the authorities of its system.
readonly bundle=/etc/ssl/certs/ca-certificates.crt

binary=$root/postern
if [ ! -e "$binary" ]; then binary=$root/dist/postern; fi
# What the package brought: in the bundle of this machine there may be private authorities too, which are nobody else's.
authorities=/usr/share/ca-certificates/mozilla
libraries=
tag=
stage_only=

usage() {
  cat <<USAGE
Usage: image.sh [--binary FILE] [--libraries FOLDER] [--authorities PATH] [--tag NAME] [--stage-only]

  --binary FILE       the binary ($binary)
  --libraries FOLDER  where its shared objects lie, if it is for another processor than this machine's
                      (/usr/aarch64-linux-gnu/lib for arm64: apt-get install libc6-arm64-cross libgcc-s1-arm64-cross)
  --authorities PATH  whom clients trust that are told of nobody: a bundle, or a folder of .crt files ($authorities)
  --tag NAME          the image's name (localhost/postern:VERSION)
  --stage-only        lay out the files for docker build or build-push.sh, and make no image

The image's times are SOURCE_DATE_EPOCH, or the time of the binary; so a release gives the same layer everywhere.
Exit code 0 when it is done, 1 when it cannot be, 2 for a wrong command line.
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

need() {
  command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"
}

while [ $# -gt 0 ]; do
  case $1 in
    --help) usage && exit 0 ;;
    --stage-only) stage_only=yes ;;
    --binary | --libraries | --authorities | --tag)
      [ $# -gt 1 ] || wrong "$1 needs a value"
      case $1 in
        --binary) binary=$2 ;;
        --libraries) libraries=$2 ;;
        --authorities) authorities=$2 ;;
        --tag) tag=$2 ;;
      esac
      shift
      ;;
    *) wrong "unknown flag: $1" ;;
  esac
  shift
done

[ -f "$binary" ] || fail "no file $binary: name the binary with --binary, or make it (make build)"
[ -e "$authorities" ] || fail "no $authorities: apt-get install ca-certificates, or name a bundle with --authorities"
if [ -n "$tag" ] && ! [[ $tag =~ ^[a-z0-9][a-z0-9._/:-]*[a-z0-9]$ ]]; then fail "Invalid tag: '$tag'"; fi

# The processor, as the header of the binary names it.
case $(od -An -tx1 -j18 -N2 -- "$binary" | tr -d ' \n') in
  3e00) machine=x86_64 architecture=amd64 ;;
  b700) machine=aarch64 architecture=arm64 ;;
  *) fail "$binary is no program for x86-64 or arm64" ;;
esac
is_foreign=
if [ "$machine" != "$(uname -m)" ]; then is_foreign=yes; fi
if [ -z "$libraries" ] && [ -n "$is_foreign" ]; then libraries=/usr/$machine-linux-gnu/lib; fi

if [ -z "$tag" ] && [ -z "$stage_only" ]; then
  [ -z "$is_foreign" ] || fail "--tag is needed: $binary does not run here to say its version"
  version=$("$binary" --version) || fail "$binary does not say its version"
  tag=localhost/postern:${version#postern }
fi

# This machine's loader knows what it maps, and where it looks: one path a line.
mapped_here() {
  local listed
  listed=$(ldd "$binary") || return 1
  if grep 'not found' <<<"$listed" >&2; then return 1; fi
  sed -nE 's/^[[:space:]]+([^[:space:]]+ => )?(\/[^[:space:]]+) \(0x.*/\2/p' <<<"$listed" | sort -u
}

# The names of the objects that a file asks for.
needed_by() {
  LC_ALL=C readelf --dynamic --wide -- "$1" | sed -nE 's/.*\(NEEDED\).*\[([^]/]+)\]/\1/p'
}

# Lays out what a program for another processor asks for, and what that asks for, where Debian's loader looks.
place_foreign() {
  local loader name waiting
  need readelf binutils
  [ -d "$libraries" ] || fail "no folder $libraries: name the one of the shared objects for $architecture with --libraries"
  loader=$(LC_ALL=C readelf --program-headers --wide -- "$binary" | sed -nE 's/.*program interpreter: ([^]]+)\]/\1/p')
  [ -n "$loader" ] || fail "$binary names no loader"
  place "$libraries/$(basename "$loader")" "$loader" 755
  waiting=$(needed_by "$binary")
  while [ -n "$waiting" ]; do
    name=${waiting%%$'\n'*}
    waiting=$(tail -n +2 <<<"$waiting")
    if [ "$name" = "$(basename "$loader")" ] || [ -e "$stage/lib/$machine-linux-gnu/$name" ]; then continue; fi
    place "$libraries/$name" "/lib/$machine-linux-gnu/$name" 644
    waiting=$(printf '%s\n%s' "$waiting" "$(needed_by "$libraries/$name")" | sed '/^$/d')
  done
}

# place FILE PATH-IN-IMAGE MODE
place() {
  [ -f "$1" ] || fail "no file $1, which $binary needs"
  install -D --mode="$3" -- "$1" "$stage$2"
}

stage=$root/dist/image/$architecture
rm -rf -- "$stage"
place "$binary" /postern 755
if [ -n "$libraries" ]; then
  place_foreign
else
  objects=$(mapped_here) || fail "this machine does not have every shared object of $binary"
  while IFS= read -r object; do place "$object" "$object" 755; done <<<"$objects"
fi
install -d -- "$stage${bundle%/*}"
if [ -d "$authorities" ]; then
  LC_ALL=C find "$authorities" -name '*.crt' -print0 | LC_ALL=C sort -z | xargs -0 --no-run-if-empty sed '/^[[:space:]]*$/d' -- >"$stage$bundle"
else
  cat -- "$authorities" >"$stage$bundle"
fi
grep -q 'BEGIN CERTIFICATE' "$stage$bundle" || fail "there is no certificate in $authorities"
# Without it the C library asks name servers before /etc/hosts, and a name that an engine writes there would not be found.
printf 'hosts: files dns\n' >"$stage/etc/nsswitch.conf"
seconds=${SOURCE_DATE_EPOCH:-$(stat --format=%Y -- "$binary")}
find "$stage" -depth -exec touch --date="@$seconds" {} +

find "$stage" -type f -printf '%11s /%P\n' | LC_ALL=C sort -k2
find "$stage" -type f -printf '%s\n' | awk '{ bytes += $1 } END { printf "%.1f MiB in %d files for '"$architecture"'\n", bytes / 2 ^ 20, NR }'
if [ -n "$stage_only" ]; then exit 0; fi

need buildah buildah
export BUILDAH_ISOLATION=chroot
archive=$root/dist/image/$(tr '/:' '--' <<<"${tag##*/}")-$architecture.tar
# Docker's format, since only that one carries a health check.
buildah bud --quiet --layers=false --pull-never --network=none --format=docker --timestamp="$seconds" --arch="$architecture" \
  --build-arg=TARGETARCH="$architecture" --file="$root/deploy/container/Containerfile" --tag="$tag" "$root" >/dev/null ||
  fail "buildah could not build $tag"
rm -f -- "$archive"
buildah push --quiet "$tag" "docker-archive:$archive:$tag" >/dev/null || fail "buildah could not write $archive"
printf '%s: %s\n' "$tag" "$archive"
