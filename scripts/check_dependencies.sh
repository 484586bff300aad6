#!/usr/bin/env bash
# Runs tests with the lowest and with the newest versions that pyproject.toml allows, each in a separate environment.
#
#   scripts/check_dependencies.sh                      the fast tests with both
#   scripts/check_dependencies.sh lowest-direct        with one
#   scripts/check_dependencies.sh highest tests/docs   with one, these tests
set -euo pipefail
cd "$(dirname "$0")/.."
resolutions=(${1:-lowest-direct highest})
tests=("${@:2}")
[ ${#tests[@]} -gt 0 ] || tests=(tests/xbd tests/raster tests/config tests/models tests/inference tests/report tests/metrics
  tests/stats tests/datasets tests/cli)

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
for resolution in "${resolutions[@]}"; do
  echo "== $resolution"
  uv venv --quiet --clear "$environment"
  uv pip install --quiet --python "$environment" --resolution "$resolution" --editable . --group dev
  # Warnings are not errors here: newer versions fix what an old one warns of.
  "$environment/bin/python" -m pytest -q -p no:cacheprovider -W default "${tests[@]}"
done
