#!/usr/bin/env bash
# Runs tests with the lowest and with the newest versions that pyproject.toml allows, each in an environment of its own.
#
#   scripts/check_dependencies.sh                      the fast tests under both
#   scripts/check_dependencies.sh lowest-direct        under one
#   scripts/check_dependencies.sh highest tests/docs   under one, these tests
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
  # What an old version warns of is mended in a newer one.
  "$environment/bin/python" -m pytest -q -p no:cacheprovider -W default "${tests[@]}"
done
