#!/usr/bin/env bash
# Prints a folder with a Docker engine: Debian's docker.io and containerd, unpacked next to the tests' other tools. Nothing
# is installed or started.
set -euo pipefail
folder="${TEST_TOOLS:-$HOME/.cache/bluekiln-test}/docker"
if [ ! -x "$folder/usr/sbin/dockerd" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$folder"
  {
    cd "$work"
    apt-get -o APT::Sandbox::User=root download -qq docker.io containerd
    for package in *.deb; do dpkg -x "$package" "$folder"; done
  } >&2
fi
echo "$folder"
