"""pushpin: a reverse proxy that holds streams for an application. This program starts its four processes, and waits.

python -m benchmarks.peers.pushpin PORT FOLDER    # FOLDER has the unpacked Debian packages

They are condure (the clients' connections), zurl (requests to the application), pushpin-proxy and pushpin-handler. The
program ``pushpin`` would start them, too, but only from /usr. The application is ``pushpin_publisher.py``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from .pushpin_ports import get_backend_port, get_publish_port

#: Messages a second, and messages that may wait. Its default of 2500 a second is below the heavy load. With a limit, of
#: whatever size, it serves one channel every 10 ms, so that events to 500 users were 5 s late. Without one (0) it was
#: as quick as nchan, but cancelled 6 of 200 streams ("received message out of sequence").
RATE, WAITING = 1_000_000, 1_000_000

#: What is changed of the package's ``internal.conf``: zurl's sockets are in the folder, too.
_SYSTEM_ZURL, _OWN_ZURL = "ipc:///var/run/zurl/", "ipc://{rundir}/{ipc_prefix}"

_CONFIGURATION = """
[global]
include=%(own)s/internal.conf
rundir=%(own)s
ipc_prefix=
[proxy]
routesfile=%(own)s/routes
[handler]
push_in_spec=ipc://%(own)s/push
push_in_sub_specs=ipc://%(own)s/push-sub
push_in_http_addr=127.0.0.1
push_in_http_port=%(publish)d
command_spec=ipc://%(own)s/command
message_rate=%(rate)d
message_hwm=%(waiting)d
"""

_ZURL = """
[General]
in_spec=ipc://%(own)s/zurl-in
in_stream_spec=ipc://%(own)s/zurl-in-stream
out_spec=ipc://%(own)s/zurl-out
defpolicy=allow
max_open_requests=2000
"""


def main(port: str, folder: str) -> None:
    own = os.environ["BENCH_FOLDER"]
    filled = {"own": own, "publish": get_publish_port(int(port)), "rate": RATE, "waiting": WAITING}
    internal = _read_text(os.path.join(folder, "usr/lib/pushpin/internal.conf"))
    _write_text(own, "internal.conf", internal.replace(_SYSTEM_ZURL, _OWN_ZURL))
    _write_text(own, "pushpin.conf", _CONFIGURATION % filled)
    _write_text(own, "zurl.conf", _ZURL % filled)
    _write_text(own, "routes", "* 127.0.0.1:%d\n" % get_backend_port(int(port)))
    connections = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100
    started = [
        _start(folder, "zurl", "--loglevel=1", "--config=" + os.path.join(own, "zurl.conf")),
        _start(folder, "pushpin-handler", "--loglevel=1", "--config=" + os.path.join(own, "pushpin.conf")),
        _start(folder, "pushpin-proxy", "--loglevel=1", "--config=" + os.path.join(own, "pushpin.conf")),
        _start(
            folder, "condure", "--listen", "127.0.0.1:%s,stream" % port, "--stream-maxconn", str(connections),
            "--zclient-stream", "ipc://%s/condure" % own,
        ),
    ]  # fmt: skip
    sys.exit(next(code for code in [one.wait() for one in started] if code))


def _start(folder: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    libraries = os.path.join(folder, "usr/lib/x86_64-linux-gnu")
    environ = {**os.environ, "LD_LIBRARY_PATH": libraries, "QT_NO_GLIB": "1"}
    return subprocess.Popen([os.path.join(folder, "usr/bin", name), *arguments], env=environ)


def _read_text(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write_text(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
