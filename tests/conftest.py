"""Fixtures that the tests against real servers share.

A failing test shows the logs of all servers that ran during it, whether a fixture or a `with` statement started them.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.harness import servers  # noqa: E402
from tests.harness.engines import choose_engines  # noqa: E402

_prefixes = itertools.count(1)

# A shell that starts the tests in the background makes them ignore Ctrl-C, and so all servers that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    """Add the options here, not beside the chaos runs: pytest asks only the conftest of `testpaths` for options."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seconds", type=float, default=15.0, help="how long each scenario lasts (15)")
    group.addoption("--chaos-seed", default=format(random.getrandbits(32), "x"), help="of the actors' decisions")
    parser.getgroup("engines").addoption(
        "--engines",
        default="some",
        help="the engines that the suites run over: some (each test's own choice), all, or redis,postgres",
    )
    parser.getgroup("proxies").addoption("--write-docs", action="store_true", help="write the table of docs/proxies.md")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    servers.forget_stopped()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in servers.started:
            state = "running" if server.running else f"ended with {server.returncode}"
            report.sections.append((f"log of {server.name} on port {server.port}, {state}", server.log_tail()))


@pytest.fixture(autouse=True)
def errors_are_logged_each_time(monkeypatch):
    """Reset the log throttle for each test: an error that another test logged would be logged only once a minute."""
    from flask_ssemux.util import supervise
    from flask_ssemux.util.log_throttle import LogThrottle

    monkeypatch.setattr(supervise, "_throttle", LogThrottle())


def pytest_generate_tests(metafunc):
    """Run the marked tests over the engines that their mark or the command line names: see harness/engines.py."""
    mark = metafunc.definition.get_closest_marker("engines")
    if mark is not None and "engine" in metafunc.fixturenames:
        chosen = choose_engines(mark, metafunc.config.getoption("--engines"))
        metafunc.parametrize("engine", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request):
    """The name of the engine that the test runs over."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def instance_folder(tmp_path):
    folder = tmp_path / "instance"
    folder.mkdir()
    return folder


@pytest.fixture
def own_store(engine, instance_folder, running):
    """A store of the test's engine that it may break: see `make_own_store`."""
    from tests.harness.own_stores import make_own_store

    return running(make_own_store(engine, instance_folder))


@pytest.fixture
def broker_url(request, engine, instance_folder):
    """The URL of the test's store, which is empty."""
    if "own_store" in request.fixturenames:
        return request.getfixturevalue("own_store").url
    return make_url(request, engine, instance_folder)


def make_url(request, engine, folder):
    """Return the URL of an empty store, in a folder or on a server that all tests share."""
    if engine == "sqlite":
        return f"sqlite:///{folder}/ssemux.sqlite3"
    return "memory:" if engine == "memory" else make_shared_url(request, engine)


def make_shared_url(request, engine):
    """Return the URL of an empty store; the server is resolved lazily, so that a missing one skips only its tests."""
    server = request.getfixturevalue(f"shared_{engine}")
    return f"{server.url}?{'schema' if engine == 'postgres' else 'prefix'}=test{next(_prefixes)}"


@pytest.fixture
def instance_env(instance_folder, engine, broker_url):
    """The environment that gives all servers of one test the same store: by default, that of the instance folder."""
    broker = {} if engine == "sqlite" else {"SSEMUX_BROKER": broker_url}
    return {"INSTANCE_PATH": str(instance_folder), **broker}


@pytest.fixture
def running():
    """Start servers (`running(Nginx(port))`) and stop them after the test, the last one first."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def gunicorn(running, instance_env):
    """gunicorn(app, workers=1, config=None, args=(), env={}): a started servers.Gunicorn."""

    def start(app="tests.apps.plain:create_app()", *args, env=None, **options):
        return running(servers.Gunicorn(app, *args, env={**instance_env, **(env or {})}, **options))

    return start


@pytest.fixture
def flask_run(running, instance_env):
    """flask_run(app, env={}): a started servers.FlaskRun."""

    def start(app="tests.apps.plain:create_app()", *args, env=None, **options):
        return running(servers.FlaskRun(app, *args, env={**instance_env, **(env or {})}, **options))

    return start


@pytest.fixture(scope="session")
def shared_redis():
    """One server for all tests that do not break it; each test has keys of its own, by `redis_url`."""
    from tests.harness.redis import RedisServer

    with RedisServer(aof=False) as server:
        yield server


@pytest.fixture
def redis_url(request):
    return make_shared_url(request, "redis")


@pytest.fixture
def redis_server(running):
    """A started harness.redis.RedisServer whose answers are on disk; for other settings use running(RedisServer(…)).

    `appendfsync everysec` answers up to 2 s before it writes, while an earlier fsync is still running: a kill may lose
    that.
    """
    from tests.harness.redis import RedisServer

    return running(RedisServer(fsync="always"))


@pytest.fixture
def sentinel(running):
    """A started harness.redis.Sentinel, with the master and the one replica that it watches."""
    from tests.harness.redis import RedisServer, Sentinel

    master = running(RedisServer())
    return running(Sentinel(master, [running(RedisServer(replica_of=master))]))


@pytest.fixture(scope="session")
def shared_postgres():
    """One server for all tests that do not break it; each test has a schema of its own, by `postgres_url`."""
    from tests.harness.postgres import PostgresServer

    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(request):
    return make_shared_url(request, "postgres")


@pytest.fixture(scope="session")
def shared_cluster():
    """One Redis Cluster for all tests; a test that breaks it mends it: see `Cluster.mend`."""
    from tests.harness.redis_cluster import Cluster

    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def nginx(running):
    """nginx(upstream_port, conf=""): a started servers.Nginx."""

    def start(upstream_port, *args, **options):
        return running(servers.Nginx(upstream_port, *args, **options))

    return start
