#!/usr/bin/env bash
# Builds the image and assesses a pair in it as an arbitrary user, read-only and without a network. Takes minutes; needs
# root on Debian.
#
#   apt-get install buildah podman debootstrap
#   scripts/check_container.sh PRE POST FOOTPRINTS [KEY=VALUE...]   build arguments, such as DISTRIBUTION=light
#
# Nothing is pulled: the base image is a Debian made by debootstrap with the Python of `uv run`. All files are in a
# temporary folder, which is removed. CONTAINERS_CONF names another configuration of Podman.
set -euo pipefail
inputs=("$(realpath "$1")" "$(realpath "$2")" "$(realpath "$3")")
arguments=("${@:4}")
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
store=(--root "$folder/images" --runroot "$folder/run")
trap 'podman "${store[@]}" rmi --all --force >/dev/null; rm -rf "$folder"' EXIT
base=$(sed -n 's/^FROM \([^ ]*\)$/\1/p' Containerfile)

debootstrap --variant=minbase --include=ca-certificates,libffi8,libsqlite3-0,libssl3t64,libbz2-1.0,libreadline8t64 \
  "${base##*-}" "$folder/base" >"$folder/debootstrap.log"
python=$(uv run python -c 'import sys; print(sys.base_prefix)')
tar -C "$python" --exclude='site-packages/*' --exclude=__pycache__ -cf - bin/python{,3,3.11} lib include |
  tar -C "$folder/base/usr/local" -xf -
cp /etc/ssl/certs/ca-certificates.crt "$folder/base/etc/ssl/certs/"  # includes those of a proxy
chroot "$folder/base" sh -c 'ldconfig && python -m ensurepip' >/dev/null
tar -C "$folder/base" -cf - . | podman "${store[@]}" import --quiet \
  --change "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" \
  --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
  --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" - "$base"

buildah "${store[@]}" bud --isolation chroot --network host --pull-never --tag xview2 \
  "${arguments[@]/#/--build-arg=}" . >"$folder/build.log" 2>&1 || { tail "$folder/build.log"; exit 1; }
mkdir -m 777 "$folder/data"
cp "${inputs[@]}" "$folder/data"
run=(podman "${store[@]}" run --rm --network none --read-only --cap-drop all --security-opt no-new-privileges
  --tmpfs /tmp --user 4321:4321 --volume "$folder/data:/data" xview2)
"${run[@]}" doctor
"${run[@]}" assess "$(basename "$1")" "$(basename "$2")" --footprints "$(basename "$3")" --model none --out out
ls -ln "$folder/data/out"
podman "${store[@]}" images
