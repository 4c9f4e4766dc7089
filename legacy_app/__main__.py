"""``make demo``: the application on gunicorn and, where nginx is installed, nginx with default settings before it.

``python -m legacy_app`` starts both and stops both, with Ctrl-C. For looking at it on one's own machine, no more: a
site runs gunicorn by systemd and nginx by its own configuration (deploy/).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NGINX = "nginx"
START_SECONDS = 5.0
STOP_SECONDS = 5.0


def main():
    wish = _wish()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            has_proxy = wish.proxy_port and _start_nginx(stack, wish)
            _tell(wish, has_proxy)
            return stack.enter_context(_running(_gunicorn(wish), _environment(wish, has_proxy))).wait()
        except KeyboardInterrupt:
            return 0


def _wish():
    parser = argparse.ArgumentParser("python -m legacy_app", description="The example application, to be looked at.")
    parser.add_argument("--port", type=int, default=8000, help="gunicorn's, %(default)s")
    parser.add_argument("--proxy-port", type=int, default=8001, help="nginx's, %(default)s; 0: without nginx")
    return parser.parse_args()


def _gunicorn(wish):
    options = ["-c", str(ROOT / "gunicorn.conf.py"), "-b", f"127.0.0.1:{wish.port}"]
    return [sys.executable, "-m", "gunicorn", *options, "legacy_app:create_app()"]


def _environment(wish, has_proxy):
    return {**os.environ, "LEGACY_APP_PROXY_PORT": str(wish.proxy_port) if has_proxy else ""}


def _tell(wish, has_proxy):
    print(f"==> the example:      http://127.0.0.1:{wish.port}/")
    print(f"==> before and after: http://127.0.0.1:{wish.port}/demo")
    if has_proxy:
        print(f"==> both also through nginx with default settings, on port {wish.proxy_port}")
    print("==> Ctrl-C stops it", flush=True)


# -- nginx ------------------------------------------------------------------------------


def _start_nginx(stack, wish):
    """Whether it runs; if not, it was said why."""
    program = shutil.which(NGINX, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if program is None:
        print("==> nginx is not installed (apt-get install nginx-light): the demo shows gunicorn alone")
        return False
    if _listens(wish.proxy_port):
        print(f"==> port {wish.proxy_port} is taken (--proxy-port gives nginx another): the demo shows gunicorn alone")
        return False
    folder = stack.enter_context(_scratch())
    configuration = folder / "nginx.conf"
    configuration.write_text(_fill((HERE / "nginx.conf").read_text(), wish, folder))
    command = [program, "-p", str(folder), "-c", str(configuration), "-g", "daemon off;"]
    if not _comes_up(stack.enter_context(_running(command)), wish.proxy_port):
        print(f"==> nginx did not start on port {wish.proxy_port} (its reason is above): the demo shows gunicorn alone")
        return False
    return True


@contextmanager
def _scratch():
    """A folder that nginx's workers can enter, who are another user if it was started by root."""
    with tempfile.TemporaryDirectory(prefix="legacy-app-nginx-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def _fill(text, wish, folder):
    words = {"FOLDER": str(folder), "LISTEN_PORT": str(wish.proxy_port), "SERVER_PORT": str(wish.port)}
    return re.sub("|".join(words), lambda match: words[match.group()], text)


def _comes_up(process, port):
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if _listens(port):
            return True
        time.sleep(0.05)
    return False


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- processes --------------------------------------------------------------------------


@contextmanager
def _running(command, environment=None):
    """A process, until the context is left."""
    process = subprocess.Popen(command, env=environment, cwd=str(ROOT))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # at once: SIGTERM would wait for the old streams, which do not end
        _wait(process)


def _wait(process):
    """Until it has ended; a second Ctrl-C does not wait."""
    try:
        process.wait(STOP_SECONDS)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
