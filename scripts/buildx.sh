#!/usr/bin/env bash
# Prints the path of a docker-buildx; where the machine has none, or an old one, Debian's newest is unpacked next to the
# tests' other tools. The mirror is the one that this machine uses.
set -euo pipefail
folder="${TEST_TOOLS:-$HOME/.cache/bluekiln-test}/buildx"
plugin="$folder/usr/libexec/docker/cli-plugins/docker-buildx"
if [ ! -x "$plugin" ]; then
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$folder"
  echo "deb [signed-by=$key] $site sid main" >"$work/sources.list"
  options=(-o "Dir::State::lists=$work/lists" -o "Dir::Etc::sourcelist=$work/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  {
    apt-get "${options[@]}" update -qq
    cd "$work"
    apt-get "${options[@]}" download -qq docker-buildx
    dpkg -x docker-buildx_*.deb "$folder"
  } >&2
fi
echo "$plugin"
