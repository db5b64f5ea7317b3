#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Arguments go to ctest (-R name, -L label).
#   ./test.sh                      the whole suite
#   ./test.sh --sanitize [ctest…]  the same built with AddressSanitizer and UBSan
#   ./test.sh --tsan [ctest…]      with ThreadSanitizer
set -euo pipefail
cd "$(dirname "$0")"

preset=test
case "${1:-}" in
  --sanitize) preset=dev; shift ;;
  --tsan) preset=tsan; shift ;;
esac

scripts/setup.sh --test
scripts/npm-install.sh tools/offline-workspace
scripts/npm-install.sh tests/docker
scripts/npm-install.sh tests/e2e
[ -f "build/$preset/build.ninja" ] || cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" "$@"
