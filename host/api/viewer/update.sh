#!/usr/bin/env bash
# Brings another version of the viewer of `GET /docs` into the tree: host/api/viewer/update.sh 2.4.820
# The page around it, docs.html, is ours.
set -euo pipefail
cd "$(dirname "$0")"

version=${1:?usage: update.sh VERSION, one of https://www.npmjs.com/package/openapi-explorer}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# npm checks what it fetches against the sums of the registry. No script of any package is run.
npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --loglevel=error "openapi-explorer@$version"
script=$work/node_modules/openapi-explorer/dist/browser/openapi-explorer.min.js

# Without name and time, so that the same version gives the same bytes.
gzip -9 -n -c "$script" > openapi-explorer.min.js.gz
{
  echo "openapi-explorer $version (Apache-2.0), dist/browser/openapi-explorer.min.js"
  echo "sha256 $(sha256sum < "$script" | cut -d' ' -f1)"
} > VERSION

# The script holds libraries, whose licences ask that their text is kept: here is that of all that came along.
(
  cd "$work/node_modules"
  echo "OpenAPI Explorer $version and the libraries that it is made of, each with its licence."
  for folder in * @*/*; do
    [ -f "$folder/package.json" ] || continue
    node -p 'const p = require(process.argv[1]); `\n==== ${p.name} ${p.version}: ${p.license}`' "$PWD/$folder/package.json"
    find "$folder" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' \) | sort | head -n 1 | xargs -r cat
  done
) > LICENSES

cat VERSION
sed -n 's/^==== .*: //p' LICENSES | sort | uniq -c
ls -l openapi-explorer.min.js.gz LICENSES
