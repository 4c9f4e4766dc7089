"""``make demo``: runs the application on gunicorn and, if nginx is installed, nginx with default settings before it.

``python -m legacy_app`` starts both, and Ctrl-C stops both. This is only for trying the application on your own
machine: on a server systemd runs gunicorn, and nginx has a configuration of its own (deploy/).
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
    options = _parse_options()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            has_proxy = options.proxy_port and _start_nginx(stack, options)
            _print_urls(options, has_proxy)
            return stack.enter_context(
                _run_process(_make_command(options), _make_environment(options, has_proxy))
            ).wait()
        except KeyboardInterrupt:
            return 0


def _parse_options():
    parser = argparse.ArgumentParser("python -m legacy_app", description="Run the example application on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="gunicorn's port (default: %(default)s)")
    parser.add_argument(
        "--proxy-port", type=int, default=8001, help="nginx's port (default: %(default)s); 0 runs no nginx"
    )
    return parser.parse_args()


def _make_command(options):
    arguments = ["-c", str(ROOT / "gunicorn.conf.py"), "-b", f"127.0.0.1:{options.port}"]
    return [sys.executable, "-m", "gunicorn", *arguments, "legacy_app:create_app()"]


def _make_environment(options, has_proxy):
    return {**os.environ, "LEGACY_APP_PROXY_PORT": str(options.proxy_port) if has_proxy else ""}


def _print_urls(options, has_proxy):
    print(f"==> the example:      http://127.0.0.1:{options.port}/")
    print(f"==> before and after: http://127.0.0.1:{options.port}/demo")
    if has_proxy:
        print(f"==> both also through nginx with default settings, on port {options.proxy_port}")
    print("==> Ctrl-C stops it", flush=True)


# -- nginx ------------------------------------------------------------------------------


def _start_nginx(stack, options):
    """Start nginx, and tell whether it runs. If it does not, print the reason."""
    program = shutil.which(NGINX, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if program is None:
        print("==> nginx is not installed (apt-get install nginx-light): the demo shows gunicorn alone")
        return False
    if _is_port_open(options.proxy_port):
        print(
            f"==> port {options.proxy_port} is taken (--proxy-port gives nginx another): the demo shows gunicorn alone"
        )
        return False
    folder = stack.enter_context(_make_folder())
    configuration = folder / "nginx.conf"
    configuration.write_text(_fill_template((HERE / "nginx.conf").read_text(), options, folder))
    command = [program, "-p", str(folder), "-c", str(configuration), "-g", "daemon off;"]
    if not _wait_until_up(stack.enter_context(_run_process(command)), options.proxy_port):
        print(
            f"==> nginx did not start on port {options.proxy_port} (see its error above): the demo shows gunicorn alone"
        )
        return False
    return True


@contextmanager
def _make_folder():
    """Create a temporary folder that nginx's workers may read. They run as another user if root starts nginx."""
    with tempfile.TemporaryDirectory(prefix="legacy-app-nginx-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def _fill_template(text, options, folder):
    words = {"FOLDER": str(folder), "LISTEN_PORT": str(options.proxy_port), "SERVER_PORT": str(options.port)}
    return re.sub("|".join(words), lambda match: words[match.group()], text)


def _wait_until_up(process, port):
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if _is_port_open(port):
            return True
        time.sleep(0.05)
    return False


def _is_port_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- processes --------------------------------------------------------------------------


@contextmanager
def _run_process(command, environment=None):
    """Run a process until the context is left."""
    process = subprocess.Popen(command, env=environment, cwd=str(ROOT))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for the old streams, which do not end
        _wait_for_end(process)


def _wait_for_end(process):
    """Wait until the process has ended; kill it after a while, or at a second Ctrl-C."""
    try:
        process.wait(STOP_SECONDS)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
