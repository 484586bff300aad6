#!/usr/bin/env bash
# Runs the tests of the QGIS plugin. If QGIS is missing, first installs it on Debian or Ubuntu: minutes, as root.
#
#   scripts/check_qgis.sh [OPTION...]   options of pytest
#
# Without QGIS, the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v qgis_process >/dev/null || ! /usr/bin/python3 -c 'import qgis.core' 2>/dev/null; then
  if ! command -v apt-get >/dev/null; then
    echo "QGIS is not installed: this system has no apt-get."
  elif [ "$(id -u)" -ne 0 ]; then
    echo "QGIS is not installed: apt-get needs root."
  else
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends qgis python3-qgis
    } >/dev/null || echo "QGIS is not installed: apt-get failed, see above."
  fi
fi
uv run pytest -n 0 -m "slow or not slow" -rs tests/qgis_plugin "$@"
