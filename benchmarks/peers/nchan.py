"""nchan: the SSE module of nginx. This program writes the configuration and becomes nginx.

python -m benchmarks.peers.nchan PORT FOLDER WORKERS    # FOLDER has the unpacked Debian packages
"""

from __future__ import annotations

import os
import resource
import sys


def main(port: str, folder: str, workers: str) -> None:
    own = os.environ["BENCH_FOLDER"]
    filled = {
        "@MODULE@": os.path.join(folder, "usr/lib/nginx/modules/ngx_nchan_module.so"),
        "@FILES@": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "@FOLDER@": own,
        "@PORT@": port,
        "@WORKERS@": workers,
    }
    with open(os.path.join(os.path.dirname(__file__), "nginx.conf.template")) as file:
        text = file.read()
    for name, value in filled.items():
        text = text.replace(name, value)
    configuration = os.path.join(own, "nginx.conf")
    with open(configuration, "w") as file:
        file.write(text)
    nginx = os.path.join(folder, "usr/sbin/nginx")
    os.execv(nginx, [nginx, "-p", own, "-c", configuration, "-e", "stderr"])


if __name__ == "__main__":
    main(*sys.argv[1:])
