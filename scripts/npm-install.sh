#!/usr/bin/env bash
# Installs the pinned npm packages of a folder, once: again only when its lock file has changed.
set -euo pipefail
folder=${1:?usage: npm-install.sh FOLDER}
cd "$folder"
stamp=node_modules/.installed
if [ -f "$stamp" ] && cmp -s package-lock.json "$stamp"; then exit 0; fi
npm ci --no-audit --no-fund --loglevel=error
cp package-lock.json "$stamp"
