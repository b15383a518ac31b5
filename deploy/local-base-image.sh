#!/usr/bin/env bash
# Make the base image of triton-cpu with debootstrap, for a machine that reaches no image registry.
#
#   sudo deploy/local-base-image.sh           makes the image that .env names in BASE_IMAGE
#   sudo deploy/local-base-image.sh NAME      another name: then run compose with BASE_IMAGE=NAME
#
# Needs root, a Docker engine, debootstrap, and a Debian machine: the packages come from the mirror that this
# machine's own apt uses, and the image gets the same sources.
set -euo pipefail
cd "$(dirname "$0")/.."

release=bookworm
image=${1:-$(sed -n 's/^BASE_IMAGE=//p' .env)}
# The first archive in apt's list that has the release's main component.
# shellcheck disable=SC2016  # apt-get fills these in
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v release="$release" '$2 == release && $3 == "main" {print $1; exit}')
if [ -z "$mirror" ]; then
    echo "apt on this machine has no source for Debian $release: add one, or pull $image elsewhere and docker load it" >&2
    exit 1
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase "$release" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"
# What Debian's own slim images leave out too.
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale}/*
tar --create --numeric-owner --directory "$root" . | docker import --change 'CMD ["bash"]' - "$image"
docker image inspect --format "$image: {{.Size}} bytes" "$image"
