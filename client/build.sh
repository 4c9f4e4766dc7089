#!/bin/sh
# Builds the modules that the server serves from client/src. The argument is the folder for them; `make client` gives
# flask_ssemux/static. One module for everything that each page needs costs one request; the adapters are modules of their
# own, which get the page's SSEMux and import nothing.
set -eu
cd "$(dirname "$0")/.."
build() {
    tests/node_modules/.bin/esbuild "$@" --log-level=warning \
        --bundle --format=esm --target=es2022 --charset=utf8 --external:./ssemux-poll.js
}
build client/src/ssemux.js client/src/ssemux-poll.js --outdir="$1" \
    --banner:js="// Built from client/src by \`make client\`. Documentation: docs/client.md"
build client/src/htmx.js client/src/datastar.js --outdir="$1" --entry-names="ssemux-[name]" \
    --banner:js="// Built from client/src by \`make client\`. Documentation: docs/frameworks.md"
# esbuild keeps some comments, whose place is client/src.
cd "$1"
sed -i -E '/^ +\/\/ /d; /^ +\/\*\*.*\*\/$/d; /^ +\/\*\*/,/\*\/$/d' ssemux.js ssemux-poll.js ssemux-htmx.js ssemux-datastar.js
