#!/bin/sh
# Installs the Debian packages that the tests, and the demo, need and this machine lacks.
# Arguments are package:program pairs; without any, all that the tests need.
set -eu

[ $# -gt 0 ] || set -- nginx-light:/usr/sbin/nginx chromium:/usr/bin/chromium nodejs:node npm:npm curl:curl \
    redis-server:redis-server redis-sentinel:redis-sentinel postgresql:psql pgbouncer:pgbouncer iproute2:ip openssl:openssl systemd:systemd-analyze \
    firefox-esr:/usr/bin/firefox-esr \
    apache2:/usr/sbin/apache2 haproxy:/usr/sbin/haproxy caddy:/usr/bin/caddy varnish:/usr/sbin/varnishd \
    squid:/usr/sbin/squid prometheus:/usr/bin/promtool golang-go:go \
    golang-github-donovanhide-eventsource-dev:/usr/share/gocode/src/github.com/donovanhide/eventsource/stream.go

missing=
for pair in "$@"; do
    command -v "${pair#*:}" >/dev/null 2>&1 || missing="$missing ${pair%%:*}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "==> not installed here, so what needs them is left out:$missing" >&2
    exit 0
fi
echo "==> Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive

# Debian's packages start their services when they are installed, unless this says no. The tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0

# What apt complains of may be no harm; what counts is that the programs are there.
for pair in "$@"; do
    command -v "${pair#*:}" >/dev/null 2>&1 || exit 1
done
