#!/usr/bin/env bash
# Builds the image for one or more processors with Docker's buildx, and pushes it where that is asked for, and only there.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root

registry=${REGISTRY:-ghcr.io}
owner=${OWNER:-postern}
tag=${TAG:-latest}
context=${CONTEXT:-$root}

# The processors for which the image's files are there.
laid_out() {
  local folder names=()
  for folder in "$context"/dist/image/*/; do
    if [ -d "$folder" ]; then names+=("linux/$(basename "$folder")"); fi
  done
  (
    IFS=,
    printf '%s' "${names[*]:-none}"
  )
}

# An image can only be made of what is laid out.
platforms=${PLATFORMS:-$(laid_out)}
if [ "$platforms" = none ]; then platforms=linux/amd64; fi

usage() {
  cat <<USAGE
Usage: build-push.sh (--push | --no-push) [--arm64-only]

  --push        push the image; needed for several processors, which buildx cannot load
  --no-push     load the image into Docker on this machine and never push
  --arm64-only  linux/arm64 alone, whatever PLATFORMS says; without --push the image is loaded

Variables, with what holds now:
  REGISTRY=$registry
  OWNER=$owner
  TAG=$tag
  PLATFORMS=$platforms
  CONTEXT=$context

The image is called REGISTRY/OWNER/postern:TAG, and is made of CONTEXT/dist/image, which
deploy/container/image.sh --stage-only lays out.
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

push=unsaid
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage && exit 0 ;;
    --push | --no-push)
      wanted=${1#--}
      if [ "$push" != unsaid ] && [ "$push" != "$wanted" ]; then wrong "--push and --no-push exclude each other"; fi
      push=$wanted
      ;;
    --arm64-only) platforms=linux/arm64 ;;
    *) wrong "unknown flag: $1" ;;
  esac
  shift
done

case $push,$platforms in
  no-push,*,*) fail "--no-push is incompatible with multi-platform builds (buildx --load requires single platform)" ;;
  unsaid,*,*) fail "several processors ($platforms) need --push; --arm64-only, or one in PLATFORMS, builds for this machine" ;;
esac
if ! [[ $platforms =~ ^linux/[a-z0-9/]+(,linux/[a-z0-9/]+)*$ ]]; then fail "Invalid PLATFORMS: '$platforms'"; fi
if ! [[ $registry =~ ^[a-z0-9.-]+(:[0-9]+)?$ ]]; then fail "Invalid REGISTRY: '$registry'"; fi
if ! [[ $owner =~ ^[a-z0-9]+([._/-][a-z0-9]+)*$ ]]; then fail "Invalid OWNER: '$owner'"; fi
if ! [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]]; then fail "Invalid TAG: '$tag'"; fi
containerfile=$context/deploy/container/Containerfile
[ -f "$containerfile" ] || fail "no file $containerfile"
for platform in ${platforms//,/ }; do
  staged=$context/dist/image/${platform#linux/}
  [ -d "$staged" ] || fail "no folder $staged: lay it out (deploy/container/image.sh --stage-only), or name in PLATFORMS what there is: $(laid_out)"
done
command -v docker >/dev/null || fail "docker is missing"
docker buildx version >/dev/null 2>&1 || fail "docker has no buildx here"

output=--load
if [ "$push" = push ]; then output=--push; fi
image=$registry/$owner/postern:$tag
docker buildx build --platform "$platforms" --file "$containerfile" --tag "$image" "$output" "$context" || fail "docker could not build $image"
if [ "$output" = --push ]; then printf 'Pushed %s (%s)\n' "$image" "$platforms"; else printf 'Loaded %s (%s); nothing was pushed\n' "$image" "$platforms"; fi
