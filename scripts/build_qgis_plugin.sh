#!/usr/bin/env bash
# Writes the archive of the QGIS plugin from the last commit, for Plugins > Install from ZIP and the plugin repository.
#
#   scripts/build_qgis_plugin.sh [FILE]   default: dist/xview2_damage.zip
set -euo pipefail
file=$(realpath -m "${1:-$(dirname "$0")/../dist/xview2_damage.zip}")
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$file")"
git archive --format=zip --prefix=xview2_damage/ --add-file=LICENSE --output="$file" HEAD:qgis_plugin
