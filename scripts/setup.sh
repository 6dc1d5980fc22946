#!/usr/bin/env bash
# Installs what tests and demo need and this machine lacks: an OCI runtime, a registry, a shell for base images.
#   setup.sh [COMMAND:PACKAGE ...]: and these
set -euo pipefail

missing=()
command -v crun >/dev/null || command -v runc >/dev/null || missing+=(crun runc)
command -v docker-registry >/dev/null || missing+=(docker-registry)
command -v busybox >/dev/null || missing+=(busybox-static)
command -v ip >/dev/null || missing+=(iproute2)
command -v unshare >/dev/null || missing+=(util-linux)
command -v openssl >/dev/null || missing+=(openssl)
command -v git >/dev/null || missing+=(git)
command -v xz >/dev/null || missing+=(xz-utils)
for wanted in "$@"; do
  command -v "${wanted%%:*}" >/dev/null || missing+=("${wanted#*:}")
done

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# esbuild and lmdb bring their binaries in packages of their own; nothing else is compiled
cd "$(dirname "$0")/.."
[ -d node_modules ] || npm ci
