"""Where a Redis server is, by its URL, and how a connection to it is opened.

redis-py handles the protocol, TLS, passwords and Sentinel. Its connections are used without its pool, which would
connect again unnoticed: callers must know that a connection is new. Nothing about events.
"""

from __future__ import annotations

import inspect
import socket
import time
import weakref
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from ...errors import ConfigurationError
from ...util import forks
from ...util.redact import without_password
from ..contract.constants import WAIT_SECONDS
from ..namespace import PREFIX

driver: Any = None
try:
    import redis.sentinel

    driver = redis
except ImportError:  # an extra: ``Address`` raises an error that names it
    pass

#: Seconds that a new connection may take, even if less time is left.
LEAST = 0.5

#: Seconds for each of several sentinels: one that is down must not use up the time for the others.
SENTINEL_WAIT = WAIT_SECONDS / 4


class Address:
    """Where a server is, and how to connect to it.

    :param url: as ``SSEMUX_BROKER``; with redis-py's options and ``prefix`` in its query.
    :raises ConfigurationError: redis-py is missing, or the URL cannot be understood.
    """

    def __init__(self, url: str) -> None:
        if driver is None:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r needs the package redis: pip install 'flask_ssemux[redis]'" % without_password(url)
            )
        url, query = _split_options(url)
        self.prefix = query.get("prefix", PREFIX)
        self.shown = without_password(url.partition("?")[0])
        try:
            self._pool: Any = _make_sentinel_pool(url, query) if "+sentinel://" in url else _make_pool(url)
            self.database = int(self._pool.connection_kwargs.get("db") or 0)
            self._pool.make_connection()  # its options are checked here; nothing is connected yet
        except (TypeError, ValueError) as error:
            raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (self.shown, error)) from None

    def connect(self, deadline: float) -> Any:
        """Return an open connection of redis-py.

        :raises redis.RedisError: the server cannot be reached.
        """
        made = self._pool.make_connection()
        _connections.add(made)
        # A server that works answers in milliseconds; one that hangs may take LEAST seconds more than were left.
        made.socket_timeout = made.socket_connect_timeout = max(LEAST, deadline - time.monotonic())
        made.connect()
        return made


_connections: weakref.WeakSet[Any] = weakref.WeakSet()


def _close_inherited() -> None:
    """In a forked child: the connections are the parent's. A copied greenlet that waits for an answer reads their
    end."""
    for connection in list(_connections):
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            forks.replace_file(sock.fileno())


forks.call_in_child(_close_inherited, forks.FILES)


def _split_options(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL without the options that redis-py does not know, and all options."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    theirs = {name: value for name, value in query.items() if name != "prefix" and not name.startswith("sentinel_")}
    options = "?" + urlencode(theirs) if theirs else ""
    return "%s://%s%s%s" % (parts.scheme, parts.netloc, parts.path, options), query


def _make_settings(timeout: float, kind: Any = None) -> dict[str, Any]:
    """Return the settings of our connections that this redis-py knows: no retries, which would append twice."""
    settings: dict[str, Any] = {"socket_timeout": timeout}
    known = _list_parameters(kind or driver.Connection)
    if "socket_connect_timeout" in known:
        settings["socket_connect_timeout"] = timeout
    if "retry" in known:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings["retry"] = Retry(NoBackoff(), 0)
    if "protocol" in known:
        settings["protocol"] = 2
    if "socket_keepalive_options" in known:
        settings["socket_keepalive"] = True
        settings["socket_keepalive_options"] = _keepalive_options()
    return settings


def _keepalive_options() -> dict[int, int]:
    """Return the socket options, of those this system has, that keep a NAT from forgetting an idle connection."""
    seconds = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in seconds.items() if hasattr(socket, name)}


def _list_parameters(kind: Any) -> set[str]:
    """Return the parameters of a kind of connection: its own, and those that ``**kwargs`` pass on to its base class."""
    found: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            found.update(parameters)
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return found


def _make_pool(url: str) -> Any:
    options = _make_settings(WAIT_SECONDS, driver.UnixDomainSocketConnection if url.startswith("unix:") else None)
    if "decode_components" in inspect.signature(driver.ConnectionPool.from_url).parameters:
        options["decode_components"] = True  # optional before redis-py 4
    pool = driver.ConnectionPool.from_url(url, max_connections=2**31 - 1, **options)
    known = _list_parameters(pool.connection_class)
    for name in parse_qs(urlsplit(url).query):
        if name not in known:
            raise ValueError("redis-py %s knows no option %r" % (driver.__version__, name))
    # Answers are bytes, and no connection is made again unnoticed.
    for name in [name for name in pool.connection_kwargs if name.startswith("socket_keepalive")]:
        options[name] = pool.connection_kwargs[name]  # the URL's own
    pool.connection_kwargs.update(options, decode_responses=False, health_check_interval=0)
    pool.connection_kwargs.pop("decode_components", None)
    return pool


def _make_sentinel_pool(url: str, query: dict[str, str]) -> Any:
    """``redis+sentinel://user:password@host:26379,host:26379/service/database``."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    if not hosts or not path or not path[0] or len(path) > 2:
        raise ValueError("a sentinel's URL is redis+sentinel://user:password@host:26379,host:26379/service/database")
    for option in parse_qs(parts.query):
        if not option.startswith("ssl_"):
            raise ValueError("a sentinel's URL knows no option %r" % option)
    options = _make_settings(WAIT_SECONDS)
    options["db"] = int(path[1]) if len(path) == 2 and path[1] else 0
    if password:
        options["password"] = unquote(password)
    if name:
        options["username"] = unquote(name)
    if parts.scheme == "rediss+sentinel":
        options.update(_tls_options(parts.query))
    sentinel_options = _make_settings(SENTINEL_WAIT)
    for option in ("username", "password"):
        if "sentinel_" + option in query:
            sentinel_options[option] = query["sentinel_" + option]
    sentinel = driver.sentinel.Sentinel(
        [_parse_host(host) for host in hosts.split(",")], sentinel_kwargs=sentinel_options
    )
    return driver.sentinel.SentinelConnectionPool(path[0], sentinel, max_connections=2**31 - 1, **options)


def _tls_options(query: str) -> dict[str, Any]:
    if not hasattr(driver.sentinel, "SentinelManagedSSLConnection"):
        raise ValueError("TLS with Sentinel needs redis-py 4 or newer; this is %s" % driver.__version__)
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    return {"connection_class": driver.sentinel.SentinelManagedSSLConnection, **options}


def _parse_host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    return host.strip("[]"), int(port or 26379)
