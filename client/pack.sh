#!/bin/sh
# Puts what the npm package contains beside package.json, and removes it again: `copy` before npm packs, `remove` after that.
# The repository has none of these files twice.
set -eu
cd "$(dirname "$0")"
case "$1" in
copy)
    cp ../flask_ssemux/static/ssemux.js ../flask_ssemux/static/ssemux-poll.js src/react.js src/vue.js src/subscription.js ../LICENSE .
    cp ../flask_ssemux/static/ssemux-htmx.js htmx.js
    cp ../flask_ssemux/static/ssemux-datastar.js datastar.js
    ;;
remove) rm -f ssemux.js ssemux-poll.js react.js vue.js subscription.js htmx.js datastar.js LICENSE ;;
esac
