"""Whom we measure: what starts each, and how a client knows that its stream is open.

Ours, peers, and a floor under all. All of them answer ``GET /ready`` and ``GET /publish?events=&rate=&size=`` with
their process's id, and stream at ``STREAM``. What is measured is not known here.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, NamedTuple, Sequence

from . import event, install

#: Where every contender streams.
STREAM = "/events?channel=" + event.CHANNEL

#: The end of a response's headers: for most, a stream is open then.
HEADERS = b"\r\n\r\n"

#: Seconds between heartbeats: none falls into what is measured.
HEARTBEAT = 600


class Contender(NamedTuple):
    """A server that can be measured.

    :param name: in the table.
    :param command: what starts it; ``{port}`` and ``{workers}`` are filled in.
    :param environ: added to the environment.
    :param first: what a client has got when its stream is open; empty where Redis has to be asked.
    :param files: open files of the server for each stream.
    :param redis: whether it needs a Redis, as ``BENCH_REDIS``.
    :param publisher: a process beside it that publishes; ``{port}`` is its own, ``{server}`` the server's.
    :param told: versions, for the document.
    """

    name: str
    command: tuple[str, ...]
    environ: dict[str, str] = {}  # noqa: RUF012
    first: bytes = HEADERS
    files: int = 1
    redis: bool = False
    publisher: tuple[str, ...] = ()
    told: str = ""


#: Its first event; more than the headers, which it sends in the same breath.
_HELLO = b"event: ssemux.hello\n"

FLOOR = Contender(
    "floor: sendall in a loop", (sys.executable, "-m", "benchmarks.floor", "{port}"), first=_HELLO,
    told="no HTTP library, no queue: one thread and blocking sockets",
)  # fmt: skip


def flask_ssemux(broker: str = "memory:", transport: str = "", **options: object) -> Contender:
    """Ours under gunicorn's gevent worker.

    :param transport: SSEMUX_TRANSPORT; empty takes its default.
    :param options: as ``SSEMUX_*``, in small letters.
    """
    if transport:
        options["transport"] = transport
    # The default leaves a fifth of the file limit to pages, of which a benchmark has none.
    options.setdefault("max_streams", 100_000)
    settings = {"SSEMUX_%s" % name.upper(): str(value) for name, value in options.items()}
    command = (
        sys.executable, "-m", "gunicorn", "-c", "python:flask_ssemux.gunicorn_conf", "-k", "gevent",
        "-w", "{workers}", "--worker-connections", "100000", "-b", "127.0.0.1:{port}", "--log-level", "warning",
        "benchmarks.app:create_app()",
    )  # fmt: skip
    name = "flask_ssemux " + (transport or "auto")
    told = "gunicorn's gevent worker, SSEMUX_BROKER=%s; %s" % (
        broker, install.versions(sys.executable, "flask", "gunicorn", "gevent"),
    )  # fmt: skip
    return Contender(name, command, {"SSEMUX_BROKER": broker, **settings}, first=_HELLO, told=told)


def _flask_sse() -> Contender:
    python = install.python("flask_sse")
    command = (
        python, "-m", "gunicorn", "-k", "gevent", "-w", "{workers}", "--worker-connections", "100000",
        "-b", "127.0.0.1:{port}", "--log-level", "warning", "benchmarks.peers.flask_sse_app:app",
    )  # fmt: skip
    told = "gunicorn's gevent worker, and a Redis that is not counted; " + install.versions(
        python, "flask-sse", "flask", "gunicorn", "gevent", "redis"
    )
    return Contender("Flask-SSE", command, first=b"", files=2, redis=True, told=told)


def _django_eventstream() -> Contender:
    python = install.python("django_eventstream")
    told = "uvicorn with uvloop; " + install.versions(python, "django-eventstream", "django", "uvicorn", "uvloop")
    return Contender("django-eventstream", _uvicorn(python, "django_eventstream_app"), told=told)


def _sse_starlette() -> Contender:
    python = install.python("sse_starlette")
    told = "uvicorn with uvloop; " + install.versions(python, "sse-starlette", "starlette", "uvicorn", "uvloop")
    return Contender("sse-starlette", _uvicorn(python, "sse_starlette_app"), told=told)


def _uvicorn(python: str, name: str) -> tuple[str, ...]:
    return (
        python, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools",
        "--lifespan", "off", "--log-level", "warning", "benchmarks.peers.%s:application" % name,
    )  # fmt: skip


def _better_sse() -> Contender:
    folder = install.npm("better_sse")
    program = os.path.join(install.PEERS, "better_sse.mjs")
    version = install.said("node", "-p", "require('%s/node_modules/better-sse/package.json').version" % folder)
    told = "Node's http server; better-sse %s, node %s" % (version, install.said("node", "--version"))
    return Contender("better-sse", ("node", program, "{port}", folder), told=told)


def _nchan() -> Contender:
    folder = install.debian("nchan", "nginx", "libnginx-mod-nchan")
    packages = [name.rpartition("_")[0].replace("%3a", ":") for name in os.listdir(folder) if name.endswith(".deb")]
    return Contender(
        "nchan", (sys.executable, "-m", "benchmarks.peers.nchan", "{port}", folder),
        publisher=(sys.executable, "-m", "benchmarks.peers.nchan_publisher", "{port}", "{server}"),
        told="nginx with one worker; its publisher, a process beside it, is not counted; "
        + ", ".join(sorted(packages)).replace("_", " "),
    )  # fmt: skip


#: By the name in the table: what brings it here.
PEERS: dict[str, Callable[[], Contender]] = {
    "nchan": _nchan,
    "better-sse": _better_sse,
    "sse-starlette": _sse_starlette,
    "django-eventstream": _django_eventstream,
    "Flask-SSE": _flask_sse,
}


def everyone(only: Sequence[str] = ("",)) -> tuple[list[Contender], dict[str, str]]:
    """All who can be measured here, and of the others why not.

    :param only: words of which a name has to have one; the floor is always there.
    """
    quiet: dict[str, Any] = {"heartbeat": HEARTBEAT, "client_timeout": HEARTBEAT * 6}
    ours = [flask_ssemux(transport=name, **quiet) for name in ("handoff", "generator")]
    found = [FLOOR, *(contender for contender in ours if _is_of(only, contender.name))]
    missing: dict[str, str] = {}
    for name, bring in PEERS.items():
        try:
            if _is_of(only, name):
                found.append(bring())
        except install.Missing as error:
            missing[name] = str(error)
    return found, missing


def _is_of(only: Sequence[str], name: str) -> bool:
    return any(word in name for word in only)
