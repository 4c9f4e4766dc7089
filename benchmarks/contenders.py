"""The servers that are measured: how to start each, and how a client knows that its stream is open.

These are flask_ssemux, its peers, and the floor. All of them answer ``GET /ready`` and ``GET
/publish?events=&rate=&size=`` with their process id, and stream at ``STREAM``. Nothing is measured here.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from . import event, install, postgres_server, redis_server
from .table import progress

#: The URL of all servers' streams.
STREAM = "/events?channel=" + event.CHANNEL

#: The URL of a stream of one user's own events; ours finds the user in the header ``X-User``.
USER_STREAM = "/user?user={user}"

#: The end of a response's headers: most servers' streams are open then.
HEADERS = b"\r\n\r\n"

#: Seconds between heartbeats, so that none is sent during a measurement.
HEARTBEAT = 600


class Contender(NamedTuple):
    """A server that can be measured.

    :param name: the name in the table.
    :param command: the command that starts it; ``{port}`` and ``{workers}`` are filled in.
    :param environ: variables to add to the environment.
    :param first: what a client has received when its stream is open; empty if only Redis knows it.
    :param files: the files that the server opens for each stream.
    :param redis: whether it needs a Redis server, whose URL is in ``BENCH_REDIS``.
    :param publisher: the command of a separate process that publishes; ``{port}`` is its port, ``{server}`` the
        server's.
    :param description: how it runs, and the versions, for the document.
    :param user_stream: the URL of a stream of one user's own events.
    """

    name: str
    command: tuple[str, ...]
    environ: dict[str, str] = {}  # noqa: RUF012
    first: bytes = HEADERS
    files: int = 1
    redis: bool = False
    publisher: tuple[str, ...] = ()
    description: str = ""
    user_stream: str = USER_STREAM


#: The first event of flask_ssemux, which it sends together with the headers.
_HELLO = b"event: ssemux.hello\n"

FLOOR = Contender(
    "floor: sendall in a loop", (sys.executable, "-m", "benchmarks.floor", "{port}"), first=_HELLO,
    description="no HTTP library, no queue: one thread and blocking sockets",
)  # fmt: skip


def flask_ssemux(broker: str = "memory:", transport: str = "", **options: object) -> Contender:
    """Return flask_ssemux under gunicorn's gevent worker.

    :param transport: SSEMUX_TRANSPORT; empty means the default.
    :param options: other ``SSEMUX_*`` options, in lower case.
    """
    if transport:
        options["transport"] = transport
    # The default reserves a fifth of the file limit for pages, but a benchmark requests none.
    options.setdefault("max_streams", 100_000)
    settings = {"SSEMUX_%s" % name.upper(): str(value) for name, value in options.items()}
    command = (
        sys.executable, "-m", "gunicorn", "-c", "python:flask_ssemux.gunicorn_conf", "-k", "gevent",
        "-w", "{workers}", "--worker-connections", "100000", "-b", "127.0.0.1:{port}", "--log-level", "warning",
        "benchmarks.app:create_app()",
    )  # fmt: skip
    name = "flask_ssemux " + (transport or "auto")
    description = "gunicorn's gevent worker, SSEMUX_BROKER=%s; %s" % (
        broker, install.list_versions(sys.executable, "flask", "gunicorn", "gevent"),
    )  # fmt: skip
    return Contender(
        name, command, {"SSEMUX_BROKER": broker, **settings}, first=_HELLO, description=description,
        user_stream="/events",
    )  # fmt: skip


def without_gunicorn_conf(contender: Contender) -> Contender:
    """Return the same under plain ``gunicorn -k gevent``, without our configuration for gunicorn."""
    command = list(contender.command)
    at = command.index("-c")
    del command[at : at + 2]
    return contender._replace(name=contender.name + ", plain gunicorn", command=tuple(command))


#: Values of SSEMUX_BROKER; "redis:" and "postgresql:" stand for a server of the benchmark's own.
BROKERS = ("memory:", "sqlite:", "redis:")
ALL_BROKERS = (*BROKERS, "postgresql:")


def list_brokers(stack: ExitStack, brokers: Sequence[str], core: int) -> Iterator[tuple[str, Contender]]:
    """Yield flask_ssemux with each broker, and its name. A broker whose server is not installed is left out.

    :param stack: ends the broker's server.
    :param core: the core on which the broker's server runs, whose CPU time is not counted.
    """
    for broker in brokers:
        url = broker
        if broker in _SERVERS:
            module, kind = _SERVERS[broker]
            if not module.is_installed():
                progress("%s is missing, because its server is not installed on this machine" % broker)
                continue
            url = stack.enter_context(kind(core)).url
        yield "flask_ssemux, " + broker, flask_ssemux(url, heartbeat=HEARTBEAT, client_timeout=HEARTBEAT * 6)


#: What runs the server of a broker that needs one.
_SERVERS: dict[str, tuple[Any, Any]] = {
    "redis:": (redis_server, redis_server.RedisServer),
    "postgresql:": (postgres_server, postgres_server.PostgresServer),
}


def bare_view() -> Contender:
    """Return a Flask view without flask_ssemux, under gunicorn's gevent worker."""
    command = (
        sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "{workers}", "--worker-connections", "100000",
        "-b", "127.0.0.1:{port}", "--log-level", "warning", "benchmarks.bare:create_app()",
    )  # fmt: skip
    return Contender("a bare Flask view", command, first=_HELLO)


def _flask_sse() -> Contender:
    python = install.make_environment("flask_sse")
    command = (
        python, "-m", "gunicorn", "-k", "gevent", "-w", "{workers}", "--worker-connections", "100000",
        "-b", "127.0.0.1:{port}", "--log-level", "warning", "benchmarks.peers.flask_sse_app:app",
    )  # fmt: skip
    description = "gunicorn's gevent worker, and a Redis that is not counted; " + install.list_versions(
        python, "flask-sse", "flask", "gunicorn", "gevent", "redis"
    )
    return Contender("Flask-SSE", command, first=b"", files=2, redis=True, description=description)


def _django_eventstream() -> Contender:
    python = install.make_environment("django_eventstream")
    description = "uvicorn with uvloop; " + install.list_versions(
        python, "django-eventstream", "django", "uvicorn", "uvloop"
    )
    return Contender("django-eventstream", _uvicorn(python, "django_eventstream_app"), description=description)


def _sse_starlette() -> Contender:
    python = install.make_environment("sse_starlette")
    description = "uvicorn with uvloop; " + install.list_versions(
        python, "sse-starlette", "starlette", "uvicorn", "uvloop"
    )
    return Contender("sse-starlette", _uvicorn(python, "sse_starlette_app"), description=description)


def _uvicorn(python: str, name: str) -> tuple[str, ...]:
    return (
        python, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools",
        "--lifespan", "off", "--log-level", "warning", "benchmarks.peers.%s:application" % name,
    )  # fmt: skip


def _better_sse() -> Contender:
    folder = install.install_npm("better_sse")
    program = os.path.join(install.PEERS, "better_sse.mjs")
    version = install.read_output("node", "-p", "require('%s/node_modules/better-sse/package.json').version" % folder)
    description = "Node's http server; better-sse %s, node %s" % (version, install.read_output("node", "--version"))
    return Contender("better-sse", ("node", program, "{port}", folder), description=description)


def _nchan() -> Contender:
    folder = install.unpack_debian("nchan", "nginx", "libnginx-mod-nchan")
    return Contender(
        "nchan", (sys.executable, "-m", "benchmarks.peers.nchan", "{port}", folder, "{workers}"),
        publisher=(sys.executable, "-m", "benchmarks.peers.nchan_publisher", "{port}", "{server}"),
        description="nginx; its publisher, a process beside it, is not counted; "
        + ", ".join(install.list_debian(folder)),
    )  # fmt: skip


#: What Debian's pushpin consists of and needs, except what every Debian has. mongrel2 is not used.
_PUSHPIN = (
    "pushpin", "condure", "zurl", "libqt5core5a", "libqt5network5", "libqt5dbus5", "libzmq5", "libpgm-5.3-0",
    "libnorm1", "libpcre2-16-0", "libdouble-conversion3", "libsodium23", "libicu72",
)  # fmt: skip


def _pushpin() -> Contender:
    folder = install.unpack_debian("pushpin", *_PUSHPIN)
    own = [name for name in install.list_debian(folder) if name.startswith(("pushpin ", "condure ", "zurl "))]
    return Contender(
        "pushpin", (sys.executable, "-m", "benchmarks.peers.pushpin", "{port}", folder),
        publisher=(sys.executable, "-m", "benchmarks.peers.pushpin_publisher", "{port}", "{server}"),
        description="its four processes; the application that it asks, which also publishes, is a process beside them "
        "and is not counted; " + ", ".join(own),
    )  # fmt: skip


#: The functions that install the peers, by their names in the table.
PEERS: dict[str, Callable[[], Contender]] = {
    "nchan": _nchan,
    "pushpin": _pushpin,
    "better-sse": _better_sse,
    "sse-starlette": _sse_starlette,
    "django-eventstream": _django_eventstream,
    "Flask-SSE": _flask_sse,
}


def find_contenders(only: Sequence[str] = ("",)) -> tuple[list[Contender], dict[str, str]]:
    """Return the servers that can be measured here, and the reasons why the others cannot.

    :param only: words, one of which a name must contain; the floor is always included.
    """
    quiet: dict[str, Any] = {"heartbeat": HEARTBEAT, "client_timeout": HEARTBEAT * 6}
    ours = [flask_ssemux(transport=name, **quiet) for name in ("handoff", "generator")]
    found = [FLOOR, *(contender for contender in ours if _is_chosen(only, contender.name))]
    missing: dict[str, str] = {}
    for name, install_peer in PEERS.items():
        try:
            if _is_chosen(only, name):
                found.append(install_peer())
        except install.Missing as error:
            missing[name] = str(error)
    return found, missing


def _is_chosen(only: Sequence[str], name: str) -> bool:
    return any(word in name for word in only)
