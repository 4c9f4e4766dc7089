#!/bin/sh
# Installs the Debian packages that the tests need and this machine lacks.
# Arguments are package:program pairs; without any, all that the tests need.
set -eu

[ $# -gt 0 ] || set -- nginx-light:/usr/sbin/nginx chromium:/usr/bin/chromium nodejs:node npm:npm curl:curl \
    redis-server:redis-server redis-sentinel:redis-sentinel iproute2:ip openssl:openssl

missing=
for pair in "$@"; do
    command -v "${pair#*:}" >/dev/null 2>&1 || missing="$missing ${pair%%:*}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "==> not installed here, so their tests are skipped:$missing" >&2
    exit 0
fi
echo "==> Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0

# A service that did not start, such as a Redis whose port is taken, is no harm: the tests start their own.
for pair in "$@"; do
    command -v "${pair#*:}" >/dev/null 2>&1 || exit 1
done
