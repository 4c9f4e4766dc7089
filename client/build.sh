#!/bin/sh
# Builds the two modules that the server serves from client/src. The argument is the folder for them; `make client` gives
# flask_ssemux/static. One module for everything that each page needs costs one request.
set -eu
cd "$(dirname "$0")/.."
tests/node_modules/.bin/esbuild client/src/ssemux.js client/src/ssemux-poll.js --outdir="$1" --log-level=warning \
    --bundle --format=esm --target=es2022 --charset=utf8 --external:./ssemux-poll.js \
    --banner:js="// Built from client/src by \`make client\`. Documentation: docs/client.md"
# esbuild keeps some comments, whose place is client/src.
sed -i -E '/^ +\/\/ /d; /^ +\/\*\*.*\*\/$/d; /^ +\/\*\*/,/\*\/$/d' "$1"/ssemux.js "$1"/ssemux-poll.js
