#!/usr/bin/env bash
# Everything: build, lint, unit specs, end-to-end tests, recordings. Ends with "N passed, N failed".
# TEST_NODE_ONLY=1 leaves out what does not depend on the version of Node: lint, and the recordings of graphs and keys.
set -uo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh qemu-riscv64-static:qemu-user-static || exit 1
BUILDX=$(bash scripts/buildx.sh) || exit 1
export BUILDX
npm run --silent build || exit 1

passed=0
failed=0
count() { # name, command...
  local name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}

others=(--exclude 'test/golden/**')
if [ -z "${TEST_NODE_ONLY:-}" ]; then
  count lint npm run --silent lint
  others=()
fi

report=$(mktemp)
npx vitest run ${others[@]+"${others[@]}"} --reporter=default --reporter=json --outputFile.json="$report" || true
summary=$(node scripts/test-report.mjs "$report")
sed '$d' <<<"$summary"
read -r p f < <(tail -n 1 <<<"$summary")
rm -f "$report"
passed=$((passed + p))
failed=$((failed + f))

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
