#!/usr/bin/env bash
# Sets up what is missing, builds the command and runs the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
[ -f dist/bin/bluekiln.js ] || npm run --silent build
node scripts/demo.mjs
